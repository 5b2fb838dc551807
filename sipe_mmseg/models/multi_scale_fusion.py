"""Fusion of one image's maps over scales (published inference of SIPE)."""

from collections.abc import Sequence

from torch import Tensor

from .prototypes import EPS, normalize_by_max, resize_bilinear


def fuse_scales(maps: Sequence[Tensor], size: Sequence[int], eps: float = EPS) -> Tensor:
    """Resize each scale's maps to the image, sum them, divide each class by its maximum.

    Args:
        maps: One (C, h_s, w_s) tensor a scale.
        size: (H, W) of the image.
        eps: Guard of the division by the maximum.

    Returns:
        (C, H, W) in [0, 1).
    """
    total = resize_bilinear(maps[0][None], size)[0]
    for scale in maps[1:]:
        total = total + resize_bilinear(scale[None], size)[0]
    return normalize_by_max(total, eps)
