"""Pairs of near pixels and the paths between them (IRN, section 3: Ahn, Cho, Kwak; CVPR 2019)."""

from torch import Tensor

Displacement = tuple[int, int]
"""(dy, dx) from the first pixel of a pair to the second."""


def half_disc(radius: int) -> list[Displacement]:
    """Displacements d to the neighbours of a pixel, one of each pair d and -d.

    Args:
        radius: Neighbours are nearer than this, in pixels.

    Returns:
        All (dy, dx) with dy*dy + dx*dx < radius*radius and dy > 0, or dy = 0 and dx > 0; by rows, then by columns.

    Raises:
        ValueError: If ``radius`` is less than 2: no pixel has a neighbour then.
    """
    if radius < 2:
        raise ValueError(f'radius must be at least 2, not {radius}: nearer than that there is no other pixel')
    return [
        (dy, dx)
        for dy in range(radius)
        for dx in range(-radius, radius)
        if (dy > 0 or dx > 0) and dy * dy + dx * dx < radius * radius
    ]


def path(displacement: Displacement) -> list[Displacement]:
    """Points of the grid on the way from a pixel to its neighbour, both included, relative to the pixel.

    These are the points of the bounding box that are nearer than 1 to the line between the two.
    """
    dy, dx = displacement
    columns = range(min(dx, 0), max(dx, 0) + 1)
    return [(y, x) for y in range(dy + 1) for x in columns if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def at_pairs(maps: Tensor, displacement: Displacement, point: Displacement = (0, 0)) -> Tensor:
    """View of maps at p + ``point``, for every pixel p for which p and p + ``displacement`` both are inside.

    Args:
        maps: (..., h, w).
        displacement: (dy, dx) of the pair, dy >= 0.
        point: (y, x) relative to p, inside the bounding box of 0 and ``displacement``.

    Returns:
        (..., h - dy, w - |dx|), empty if the map is smaller than the displacement.
    """
    (dy, dx), (y, x) = displacement, point
    height, width = max(maps.shape[-2] - dy, 0), max(maps.shape[-1] - abs(dx), 0)
    left = max(-dx, 0) + x
    return maps[..., y : y + height, left : left + width]
