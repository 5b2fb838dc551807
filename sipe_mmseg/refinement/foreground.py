"""IS-CAM with its background channel used up, for thresholds instead of a background that competes."""

from typing import Any, TypeVar

import numpy.typing as npt
from torch import Tensor

Maps = TypeVar('Maps', npt.NDArray[Any], Tensor)


def held_back_by_background(is_cam: Maps) -> Maps:
    """Weaken every class where the background is strong: ``IS_k * (1 - IS_0)``.

    Not published: the background prototype is averaged over most of the image and so tells an object's outline better
    than the prototype of a class whose few seeds reach beyond it.

    Args:
        is_cam: IS-CAM (n + 1, H, W), background first, values from 0 to about 1.

    Returns:
        (n + 1, H, W): 0 for the background, and at least 0.
    """
    weakened: Maps = is_cam * (1 - is_cam[:1]).clip(0)
    weakened[0] = 0
    return weakened
