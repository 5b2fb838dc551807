"""Label maps as the JSON files of labelme, one for each image."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..datasets.coco_masks import MAX_COORDINATE
from ..datasets.image_files import check_size
from ..datasets.json_files import load_json
from ..datasets.messages import is_of_machine, short, shown
from .coco import bounding_box
from .drawing import Drawing, drawn_names
from .outlines import label_outlines, polygon_mask

VERSION = '6.3.1'
"""The release of labelme whose files these are."""

Shapes = Literal['polygon', 'mask']


def labelme_content(
    image_path: str,
    labels: npt.NDArray[np.uint8],
    classes: Sequence[str],
    shapes: Shapes = 'polygon',
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """What labelme's file about an image holds.

    Args:
        image_path: Path of the image, relative to the folder of the file.
        labels: Label map (H, W).
        classes: All classes, background first. Pixels of value 255 are called ``unknown``.
        shapes: ``'polygon'``: one for each connected region, to correct point by point; ``'mask'``: one for each class.
        tolerance: As in :func:`~sipe_mmseg.interchange.outlines.label_outlines`.
    """
    names = {value: name for name, value in drawn_names(classes).items()}
    height, width = labels.shape
    if shapes == 'polygon':
        drawn = [
            _shape(names[outline.value], 'polygon', outline.vertices.tolist())
            for outline in label_outlines(labels, tolerance)
        ]
    else:
        drawn = [_mask_shape(names[value], labels == value) for value in np.unique(labels[labels > 0]).tolist()]
    return dict(
        version=VERSION,
        flags={},
        shapes=drawn,
        imagePath=image_path,
        imageData=None,
        imageHeight=height,
        imageWidth=width,
    )


def read_labelme(path: str, name: str) -> Drawing:
    """What is drawn in a file of labelme; ``name`` is the image's.

    Raises:
        ValueError: If it is no file of labelme; its shapes, when they are read, also if one has no area.
    """
    content = load_json(path)
    shapes = content.get('shapes') if isinstance(content, Mapping) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
        raise ValueError(f"{path}: has no list 'shapes', as labelme's files do")
    keys = ('imageHeight', 'imageWidth')
    size = check_size(content.get(keys[0]), content.get(keys[1]), path, keys)
    return Drawing(name, size, _shapes(path, shapes, size), path)


def _shape(label: str, shape_type: str, points: list[list[float]], mask: str | None = None) -> dict[str, Any]:
    return dict(label=label, points=points, group_id=None, description='', shape_type=shape_type, flags={}, mask=mask)


def _mask_shape(label: str, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    left, top, width, height = bounding_box(mask)
    file = io.BytesIO()
    Image.fromarray(mask[top : top + height, left : left + width].astype(np.uint8)).save(file, format='PNG')
    corners: list[list[float]] = [[left, top], [left + width - 1, top + height - 1]]
    return _shape(label, 'mask', corners, base64.b64encode(file.getvalue()).decode('ascii'))


def _shapes(
    path: str, shapes: Sequence[Mapping[str, Any]], size: tuple[int, int]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for number, shape in enumerate(shapes, start=1):
        label, kind = shape.get('label'), shape.get('shape_type', 'polygon')
        where = f'{path}, shape {number} ({shown(label)})'
        if not isinstance(kind, str) or kind not in _NUMBER_OF_POINTS:
            raise ValueError(f'{where}: a {shown(kind)} has no area; draw a {", ".join(_NUMBER_OF_POINTS)}')
        try:
            points = np.array(shape.get('points'), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            points = np.empty(0)
        least, most = _NUMBER_OF_POINTS[kind]
        if (
            points.ndim != 2
            or points.shape[1] != 2
            or not least <= len(points) <= most
            or not (np.abs(points) < MAX_COORDINATE).all()
        ):
            raise ValueError(f'{where}: points must be pairs of numbers, and a {kind} has {least} of them or more')
        if not isinstance(label, str):
            raise ValueError(f'{where}: its label is no text')
        if kind == 'mask':
            yield label, _placed(where, _decoded(where, shape.get('mask'), size), points[0], size)
        elif kind == 'circle':
            radius = np.hypot(*(points[1] - points[0]))
            rows, columns = np.ogrid[: size[0], : size[1]]
            yield label, np.hypot(columns + 0.5 - points[0, 0], rows + 0.5 - points[0, 1]) < radius
        else:
            if kind == 'rectangle':
                (left, top), (right, bottom) = points
                points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            yield label, polygon_mask(points, size, where)


# Least and largest number of points of the shapes that have an area.
_NUMBER_OF_POINTS: dict[str, tuple[float, float]] = {
    'polygon': (3, np.inf),
    'mask': (2, 2),
    'rectangle': (2, 2),
    'oriented_rectangle': (4, 4),
    'circle': (2, 2),
}


def _decoded(where: str, text: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=['PNG']) as image:
            width, height = image.size
            mask = np.array(image) if height <= size[0] and width <= size[1] else None
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        raise ValueError(f'{where}: its mask is no PNG in base64 ({short(str(error))})') from error
    if mask is None:
        raise ValueError(f'{where}: its mask has {width}x{height} pixels, and the image only {size[1]}x{size[0]}')
    if mask.ndim != 2:
        raise ValueError(f'{where}: its mask has colours; it must be a greyscale PNG')
    return mask > 0


def _placed(
    where: str, mask: npt.NDArray[np.bool_], corner: npt.NDArray[np.float64], size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """A mask of the image's size with a smaller one at its place; a mask that was moved may stick out."""
    left, top = (int(side) for side in np.rint(corner))
    room = np.zeros((size[0] + 2 * mask.shape[0], size[1] + 2 * mask.shape[1]), dtype=bool)
    top, left = (
        min(max(start, -extent), side) for start, extent, side in zip((top, left), mask.shape, size, strict=True)
    )
    room[top + mask.shape[0] :, left + mask.shape[1] :][: mask.shape[0], : mask.shape[1]] = mask
    return room[mask.shape[0] :, mask.shape[1] :][: size[0], : size[1]]
