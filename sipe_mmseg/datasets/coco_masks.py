"""COCO's instance annotations as label maps: outlines and runs in, arrays of class indices out."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..refinement.label_values import IGNORE_INDEX
from .image_files import check_size
from .image_labels import coco_annotations, coco_class_names, coco_images
from .json_files import Pairs, load_json, unique_keys
from .messages import short, shown
from .run_lengths import decompress, from_run_lengths

MAX_COORDINATE = 1e100
"""Numbers from here on are no coordinates: their products would not be finite."""

# A border along all sides of all pixels crosses the rows' centres about as often as there are pixels. Small images may
# have wilder polygons.
_MAX_CROSSINGS = 1 << 20

Overlap = Literal['later', 'smaller']
Crowds = Literal['background', 'ignore']


class Instance(NamedTuple):
    """One annotation: its id in the file, its class index (1..K), its outline as COCO has it, whether it is a crowd."""

    annotation_id: Any
    class_index: int
    segmentation: Any
    crowd: bool


class AnnotatedImage(NamedTuple):
    """An image of a COCO file with its annotations in the file's order."""

    file_name: str
    height: int
    width: int
    instances: list[Instance]


def load_annotated_images(path: str) -> tuple[tuple[str, ...], list[AnnotatedImage]]:
    """Reads COCO's ``instances_*.json``.

    Args:
        path: The file.

    Returns:
        The classes (background, then the categories in the order of their ids), and all images of the file, those
        without annotations too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not what COCO's are.
    """
    content = load_json(path, _pack_polygons)
    classes = coco_class_names(path, content)
    images = {}
    for image_id, image in coco_images(path, content).items():
        where = f'{path}, image {short(image["file_name"])}'
        height, width = check_size(image.get('height'), image.get('width'), where)
        images[image_id] = AnnotatedImage(image['file_name'], height, width, [])
    for annotation, class_index in coco_annotations(path, content):
        if 'segmentation' not in annotation:
            raise ValueError(f'{path}, annotation {shown(annotation.get("id"))}: has no segmentation')
        images[annotation['image_id']].instances.append(
            Instance(
                annotation.get('id'), class_index, annotation['segmentation'], bool(annotation.get('iscrowd', False))
            )
        )
    return classes, list(images.values())


def render_label_map(
    image: AnnotatedImage, *, overlap: Overlap = 'later', crowds: Crowds = 'background'
) -> npt.NDArray[np.uint8]:
    """Draws all annotations of an image.

    Args:
        image: The image.
        overlap: Which of two objects has the pixels they share: the ``'later'`` one in the file, as most published
            masks of COCO have it, or the one with the ``'smaller'`` area (of equal ones the later).
        crowds: ``'background'`` does not draw crowds; with ``'ignore'`` they are 255 wherever there is no object.

    Returns:
        Class indices (height, width), 0 where there is no object.

    Raises:
        ValueError: If an option or an annotation is wrong, or there are more classes than a label map has room for.
    """
    if overlap not in ('later', 'smaller'):
        raise ValueError(f"overlap must be 'later' or 'smaller', not {overlap!r}")
    if crowds not in ('background', 'ignore'):
        raise ValueError(f"crowds must be 'background' or 'ignore', not {crowds!r}")
    most = max((instance.class_index for instance in image.instances), default=0)
    if most >= IGNORE_INDEX:
        raise ValueError(f'{short(image.file_name)}: has class {most}, but label maps have room for {IGNORE_INDEX - 1}')
    label_map = np.zeros((image.height, image.width), dtype=np.uint8)
    if crowds == 'ignore':
        for instance in image.instances:
            if instance.crowd:
                label_map[instance_mask(image, instance)] = IGNORE_INDEX
    objects = [instance for instance in image.instances if not instance.crowd]
    if overlap == 'smaller':
        objects.sort(key=lambda instance: -int(instance_mask(image, instance).sum()))
    for instance in objects:  # one mask at a time: all of a large image together may be too many for the memory
        label_map[instance_mask(image, instance)] = instance.class_index
    return label_map


def segmentation_mask(segmentation: Any, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Pixels of one annotation.

    Args:
        segmentation: A list of polygons ``[x0, y0, x1, y1, ...]``, the pixels of which are united, or runs
            ``{'size': [height, width], 'counts': ...}`` with a list of counts or COCO's text for it.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        Mask (height, width).

    Raises:
        ValueError: If ``segmentation`` is neither.
    """
    if isinstance(segmentation, Mapping):
        return _runs_mask(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise ValueError(f'segmentation must be a list of polygons or runs, not {shown(segmentation)}')
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        _fill_polygon(mask, _vertices(polygon))
    return mask


def _fill_polygon(mask: npt.NDArray[np.bool_], vertices: npt.NDArray[np.float64]) -> None:
    """Sets the pixels whose centre lies inside a polygon by the even-odd rule.

    Pixel (row, column) covers [column, column + 1) x [row, row + 1). On the line through the centres of a row, a centre
    is inside if an odd number of edges cross the line at its left: each crossing toggles all pixels from there on.

    Args:
        mask: Mask (height, width), changed in place.
        vertices: x and y of the polygon's vertices (n, 2); the last is joined with the first.

    Raises:
        ValueError: If the polygon goes up and down more often than the memory has room for.
    """
    height, width = mask.shape
    start, end = vertices, np.roll(vertices, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    # Rows whose centre is in [low, high): half open, so that a vertex on the line counts for one of its two edges only.
    first_row = np.clip(np.ceil(low - 0.5), 0, height).astype(int)
    row_count = np.clip(np.ceil(high - 0.5), 0, height).astype(int) - first_row
    total = int(row_count.sum())
    if not total:
        return
    if total > _MAX_CROSSINGS + 2 * mask.size:
        raise ValueError(f'a polygon crosses the rows of pixels {total} times, but there are only {mask.size} pixels')
    edge = np.repeat(np.arange(len(vertices)), row_count)
    row = np.arange(total) - np.repeat(np.cumsum(row_count) - row_count, row_count) + first_row[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)

    top, left = int(row.min()), int(column.min())
    rows, columns = int(row.max()) - top + 1, int(column.max()) - left
    toggles = np.bincount((row - top) * (columns + 1) + column - left, minlength=rows * (columns + 1))
    inside = np.cumsum(toggles.reshape(rows, columns + 1)[:, :columns], axis=1) % 2 == 1
    mask[top : top + rows, left : left + columns] |= inside


def _runs_mask(runs: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Pixels of run lengths: background and object in turn, column after column."""
    counts = runs.get('counts')
    if isinstance(counts, str):
        counts = decompress(counts)
    elif not isinstance(counts, list):
        raise ValueError(f'runs must have a list of counts or a text, not {shown(counts)}')
    if runs.get('size') not in ([height, width], (height, width)):
        raise ValueError(f'runs have size {shown(runs.get("size"))}, but the image has [{height}, {width}]')
    mask: npt.NDArray[np.bool_] = from_run_lengths(counts, height * width).reshape(width, height).T
    return mask


def instance_mask(image: AnnotatedImage, instance: Instance) -> npt.NDArray[np.bool_]:
    """Pixels (height, width) of one annotation of an image.

    Raises:
        ValueError: If the annotation is wrong; the message names it.
    """
    try:
        return segmentation_mask(instance.segmentation, image.height, image.width)
    except ValueError as error:
        raise ValueError(f'{short(image.file_name)}, annotation {shown(instance.annotation_id)}: {error}') from error


def _vertices(polygon: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        numbers = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'a polygon must be a list of numbers ({short(str(error))})') from error
    if numbers.ndim != 1 or len(numbers) % 2 or not (np.abs(numbers) < MAX_COORDINATE).all():
        raise ValueError('a polygon must be a list of numbers x0, y0, x1, y1, ...')
    return numbers.reshape(-1, 2)


def _pack_polygons(pairs: Pairs) -> dict[str, Any]:
    """Keeps polygons as arrays while the file is parsed: a quarter of the memory of lists of numbers."""
    item = unique_keys(pairs)
    polygons = item.get('segmentation')
    if isinstance(polygons, list):
        # What is no polygon stays as it is, for an error that can name image and annotation.
        with contextlib.suppress(ValueError):
            item['segmentation'] = [_vertices(polygon).ravel() for polygon in polygons]
    return item
