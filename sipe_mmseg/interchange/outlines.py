"""Label maps as polygons, and back without the loss of a pixel."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ..datasets.coco_masks import segmentation_mask

# Right, down, left, up, as (row, column).
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
# The cells ahead of a corner, left and right of each direction, relative to the corner.
_AHEAD_LEFT = ((-1, 0), (0, 0), (0, -1), (-1, -1))
_AHEAD_RIGHT = ((0, 0), (0, -1), (-1, -1), (-1, 0))


class Outline(NamedTuple):
    """What to draw: a value of the label map, and the polygon's vertices (n, 2) as (x, y)."""

    value: int
    vertices: npt.NDArray[np.float64]


def label_outlines(labels: npt.NDArray[np.uint8], tolerance: float = 0.0) -> list[Outline]:
    """Polygons that, each drawn over those before it on a canvas of zeros, give the label map.

    One polygon for each connected region (over edges, not corners), around its outer border: what lies in a hole is
    drawn later. Pixel (row, column) covers [column, column + 1) x [row, row + 1).

    Args:
        labels: Values (H, W).
        tolerance: Distance in pixels by which a polygon may leave the border, to have fewer vertices; with 0 the label
            map comes back exactly.

    Returns:
        The polygons in the order in which they are drawn.
    """
    # Two regions filled to their outer borders lie one in the other or apart, so that the larger one comes first.
    regions = sorted(_regions(labels), key=lambda region: -region.area)
    canvas = np.zeros_like(labels)
    outlines = []
    for region in regions:
        if canvas[region.start] != region.value:
            canvas[polygon_mask(region.vertices, labels.shape)] = region.value
            outlines.append(Outline(region.value, _simplified(region.vertices, tolerance)))
    return outlines


def polygon_mask(
    vertices: npt.NDArray[np.floating], size: tuple[int, ...], where: str = 'a label map'
) -> npt.NDArray[np.bool_]:
    """Pixels (H, W) whose centres lie in a polygon (n, 2) of (x, y), by the even-odd rule.

    Raises:
        ValueError: If the polygon cannot be drawn; the message begins with ``where``.
    """
    try:
        return segmentation_mask([np.ravel(vertices)], size[0], size[1])
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error


def trace_border(mask: npt.NDArray[np.bool_], start: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Vertices (n, 2) as (x, y) around the outer border of a connected region, clockwise.

    Args:
        mask: The region (H, W), connected over edges.
        start: (row, column) of the leftmost pixel in its top row.
    """
    padded = np.pad(mask, 1)
    row, column, direction = *start, 0
    vertices = [(column, row)]
    while True:
        row, column = row + _STEPS[direction][0], column + _STEPS[direction][1]
        down, right = _AHEAD_RIGHT[direction]
        up, left = _AHEAD_LEFT[direction]
        if not padded[row + down + 1, column + right + 1]:
            turn = 1
        elif padded[row + up + 1, column + left + 1]:
            turn = -1
        else:
            continue
        direction = (direction + turn) % 4
        if (row, column) == start and direction == 0:
            return np.array(vertices, dtype=np.float64)
        vertices.append((column, row))


class _Region(NamedTuple):
    value: int
    start: tuple[int, int]
    vertices: npt.NDArray[np.float64]
    area: float


def _regions(labels: npt.NDArray[np.uint8]) -> Iterator[_Region]:
    """All connected regions of equal value; their areas include their holes."""
    for value in np.unique(labels).tolist():
        number, parts, boxes, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8), connectivity=4)
        for part in range(1, number):
            left, top, width, height = (int(side) for side in boxes[part][:4])
            mask = parts[top : top + height, left : left + width] == part
            column = int(mask[0].argmax())
            vertices = trace_border(mask, (0, column)) + np.array([left, top])
            yield _Region(value, (top, left + column), vertices, _area(vertices))


def _area(vertices: npt.NDArray[np.float64]) -> float:
    x, y = vertices.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def _simplified(vertices: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.float64]:
    if not tolerance:
        return vertices
    fewer = cv2.approxPolyDP(vertices.astype(np.float32), tolerance, closed=True)[:, 0]
    return fewer.astype(np.float64) if len(fewer) > 2 else vertices
