"""The pairs of pixels that IRN learns from, and what the labels say about them (IRN, section 3.3)."""

from typing import NamedTuple

from torch import Tensor

from ..refinement.pixel_pairs import Displacement

EPS = 1e-5
"""Added inside the logarithms and to every count of pairs."""


class PairKinds(NamedTuple):
    """Which pairs the losses take, bool each. A pair with an unknown label is none of them."""

    background: Tensor
    """Both pixels are background."""
    foreground: Tensor
    """Both pixels are the same foreground class."""
    different: Tensor
    """The pixels are of two classes, one of which may be the background."""


def at_training_pairs(maps: Tensor, radius: int, point: Displacement = (0, 0)) -> Tensor:
    """View of maps at p + ``point``, for every pixel p whose half disc of neighbours lies inside as a whole.

    ``radius - 1`` columns at either side and as many rows at the bottom have no such pixel; every displacement of the
    half disc thus has the same pixels p.

    Args:
        maps: (..., h, w).
        radius: Radius of the half disc, see :func:`~sipe_mmseg.refinement.pixel_pairs.half_disc`.
        point: (y, x) relative to p, inside the half disc's bounding box.

    Returns:
        (..., h - radius + 1, w - 2 * radius + 2).

    Raises:
        ValueError: If no pixel has all its neighbours.
    """
    margin, (y, x) = radius - 1, point
    height, width = maps.shape[-2] - margin, maps.shape[-1] - 2 * margin
    if height < 1 or width < 1:
        raise ValueError(
            f'maps of {maps.shape[-2]} x {maps.shape[-1]} have no pixel with all its neighbours within radius '
            f'{radius}: {radius} x {2 * radius - 1} is the smallest size. Use larger crops or a smaller radius'
        )
    return maps[..., y : y + height, margin + x : margin + x + width]


def pair_kinds(labels: Tensor, displacement: Displacement, radius: int, num_classes: int) -> PairKinds:
    """Sort the pairs (p, p + displacement) by their labels.

    Args:
        labels: Class indices (N, h, w); what is not below ``num_classes`` is unknown.
        displacement: (dy, dx) of the half disc.
        radius: Radius of the half disc.
        num_classes: Classes with background.

    Returns:
        Three bool tensors (N, h', w'), see :func:`at_training_pairs`.
    """
    first, second = at_training_pairs(labels, radius), at_training_pairs(labels, radius, displacement)
    equal, known = first == second, (first < num_classes) & (second < num_classes)
    return PairKinds(equal & (first == 0), equal & known & (first > 0), ~equal & known)


def check_pairs(maps: Tensor, labels: Tensor) -> None:
    """Make sure that maps (N, C, h, w) and labels (N, h, w) are on one grid.

    Raises:
        ValueError: If they are not.
    """
    if maps.shape[:1] + maps.shape[2:] != labels.shape:
        raise ValueError(f'maps {tuple(maps.shape)} and labels {tuple(labels.shape)} must be on the same grid')
