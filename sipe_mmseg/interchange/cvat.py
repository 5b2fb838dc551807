"""Label maps as the XML of CVAT, "CVAT for images 1.1": one mask for each class that an image has."""

import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco_masks import MAX_COORDINATE
from ..datasets.image_files import check_size
from ..datasets.json_files import require_file
from ..datasets.messages import is_of_machine, short, shown
from ..datasets.run_lengths import from_run_lengths, run_lengths
from ..datasets.xml_files import parse_xml
from .coco import bounding_box
from .drawing import Drawing, drawn_names
from .outlines import polygon_mask

UNKNOWN_COLOUR = (255, 255, 255)
ZIP_MEMBER = 'annotations.xml'
"""Where CVAT puts the XML into the zip file that it exports."""

_MAX_RATIO = 200  # unpacked to packed; annotations are ten to fifty times as large

_XML_TEXT = re.compile('[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*')  # XML 1.0, production 2

_AREAS = ('mask', 'polygon', 'box')
_OTHER_SHAPES = ('polyline', 'points', 'ellipse', 'cuboid', 'skeleton')


def cvat_labels(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Labels of a task, as the "Raw" field of CVAT's label constructor takes them."""
    colours = [*palette, UNKNOWN_COLOUR]
    return [
        dict(name=name, color='#{:02x}{:02x}{:02x}'.format(*colour), type='any', attributes=[])
        for name, colour in zip(drawn_names(classes), colours, strict=True)
    ]


def cvat_xml(
    images: Iterator[tuple[str, npt.NDArray[np.uint8]]], number: int, classes: Sequence[str], name: str
) -> Iterator[str]:
    """The parts of the XML file, one after the other.

    Background is what has no mask; pixels of unknown class (255) have the label ``unknown``.

    Args:
        images: Names and label maps (H, W).
        number: Number of images.
        classes: All classes, background first.
        name: Name of the task.
    """
    names = {value: name for name, value in drawn_names(classes).items()}
    meta = ET.Element('meta')
    task = ET.SubElement(meta, 'task')
    for tag, text in (('name', name), ('size', str(number)), ('mode', 'annotation')):
        ET.SubElement(task, tag).text = text
    labels = ET.SubElement(task, 'labels')
    for label in names.values():
        item = ET.SubElement(labels, 'label')
        ET.SubElement(item, 'name').text = label
        ET.SubElement(item, 'attributes')
    yield f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{_text(meta)}'
    for index, (image_name, label_map) in enumerate(images):
        yield _text(_image(index, image_name, label_map, names))
    yield '</annotations>\n'


def read_cvat(path: str) -> Iterator[Drawing]:
    """Drawings of an XML file of CVAT, or of the zip file that it exports: masks, polygons and boxes.

    Shapes are drawn by their ``z_order``, those of the same one in the order of the file. Documents with a type
    declaration, and so any with entities, are refused.

    Raises:
        ValueError: If it is no such file; shapes, when they are read, also if one has no area.
    """
    for image in _parse(path):
        where = f'{path}, image {shown(image.attributes.get("name"))}'
        name = image.attributes.get('name')
        if not name:
            raise ValueError(f'{path}: has an image without a name')
        height, width = _integers(image.attributes, ('height', 'width'), where)
        size = check_size(height, width, where)
        yield Drawing(name, size, _shapes(image, size, where), where)


def _text(element: ET.Element) -> str:
    ET.indent(element)
    return ET.tostring(element, encoding='unicode') + '\n'


def _image(index: int, name: str, labels: npt.NDArray[np.uint8], names: Mapping[int, str]) -> ET.Element:
    if not _XML_TEXT.fullmatch(name):
        raise ValueError(
            f'{name!r}: an image of this name cannot be written to XML, which has no such characters: rename it'
        )
    height, width = labels.shape
    element = ET.Element('image', id=str(index), name=name, width=str(width), height=str(height))
    for value in np.unique(labels[labels > 0]).tolist():
        mask = labels == value
        box = bounding_box(mask)
        left, top, width, height = box
        runs = run_lengths(mask[top : top + height, left : left + width].ravel())
        attributes = dict(label=names[value], source='file', occluded='0', rle=', '.join(map(str, runs.tolist())))
        attributes |= {key: str(side) for key, side in zip(('left', 'top', 'width', 'height'), box, strict=True)}
        ET.SubElement(element, 'mask', attributes | dict(z_order='0'))
    return element


@dataclass
class _Image:
    attributes: dict[str, str]
    shapes: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def _parse(path: str) -> list[_Image]:
    images: list[_Image] = []
    depth: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not depth and tag != 'annotations':
            raise ValueError(f'{path}: the outermost element is {shown(tag)}, but CVAT writes annotations')
        if depth == ['annotations'] and tag == 'track':
            raise ValueError(f'{path}: has tracks, as "CVAT for video" does; export the task as "CVAT for images 1.1"')
        if depth == ['annotations'] and tag == 'image':
            images.append(_Image(attributes))
        elif depth == ['annotations', 'image'] and tag in (*_AREAS, *_OTHER_SHAPES):
            images[-1].shapes.append((tag, attributes))
        depth.append(tag)

    def end(tag: str) -> None:
        depth.pop()

    require_file(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as member:
                parse_xml(path, member, start=start, end=end)
            return images
    except ValueError:
        raise
    except Exception as error:  # zip files raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        raise ValueError(f'{path}: not a zip file that can be read ({short(str(error))})') from error
    with open(path, 'rb') as file:
        parse_xml(path, file, start=start, end=end)
    return images


def _member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    """The XML in a zip file, once it is sure that it is no bomb."""
    try:
        member = archive.getinfo(ZIP_MEMBER)
    except KeyError:
        raise ValueError(f'{path}: has no {ZIP_MEMBER} in it; export the task as "CVAT for images 1.1"') from None
    if member.file_size > _MAX_RATIO * max(member.compress_size, 1 << 16):
        raise ValueError(
            f'{path}: its {ZIP_MEMBER} would grow from {member.compress_size} to {member.file_size} bytes, more than '
            f'{_MAX_RATIO} times; unpack it yourself if that is right'
        )
    return member


def _shapes(image: _Image, size: tuple[int, int], where: str) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    placed = []
    for number, (kind, attributes) in enumerate(image.shapes, start=1):
        here = f'{where}, shape {number} ({kind})'
        if kind in _OTHER_SHAPES:
            raise ValueError(f'{here}: only {", ".join(_AREAS)} can be read; draw one of these instead')
        (order,) = _integers({'z_order': attributes.get('z_order', '0')}, ('z_order',), here)
        placed.append((order, here, kind, attributes))
    for _, here, kind, attributes in sorted(placed, key=lambda shape: shape[0]):
        if 'label' not in attributes:
            raise ValueError(f'{here}: has no label')
        yield attributes['label'], _mask(kind, attributes, size, here)


def _mask(kind: str, attributes: Mapping[str, str], size: tuple[int, int], where: str) -> npt.NDArray[np.bool_]:
    if kind == 'mask':
        left, top, width, height = _integers(attributes, ('left', 'top', 'width', 'height'), where)
        if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
            raise ValueError(
                f'{where}: {width}x{height} pixels at ({left}, {top}) do not lie in the image, which has '
                f'{size[1]}x{size[0]}'
            )
        mask = np.zeros(size, dtype=bool)
        try:
            runs = from_run_lengths([int(run) for run in attributes.get('rle', '').split(',')], width * height)
        except ValueError as error:
            raise ValueError(f'{where}: its rle cannot be read ({short(str(error))})') from error
        mask[top : top + height, left : left + width] = runs.reshape(height, width)
        return mask
    if kind == 'box':
        x0, y0, x1, y1 = _numbers(attributes, ('xtl', 'ytl', 'xbr', 'ybr'), where)
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        (angle,) = np.deg2rad(_numbers({'rotation': attributes.get('rotation', '0')}, ('rotation',), where))
        centre = corners.mean(axis=0)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])  # clockwise, y points down
        return polygon_mask((corners - centre) @ turn + centre, size, where)
    pairs = [pair.split(',') for pair in attributes.get('points', '').split(';')]
    try:
        points = np.array([(float(x), float(y)) for x, y in pairs])
    except ValueError as error:
        raise ValueError(f'{where}: points must be x0,y0;x1,y1;... ({short(str(error))})') from error
    if len(points) < 3:
        raise ValueError(f'{where}: a polygon has three points or more')
    return polygon_mask(points, size, where)


def _integers(attributes: Mapping[str, str], names: Sequence[str], where: str) -> list[int]:
    return [int(number) for number in _numbers(attributes, names, where, int)]


def _numbers(attributes: Mapping[str, str], names: Sequence[str], where: str, kind: Any = float) -> list[float]:
    numbers = []
    for name in names:
        try:
            numbers.append(kind(attributes[name]))
            if not abs(numbers[-1]) < MAX_COORDINATE:
                raise ValueError('not finite')
        except (KeyError, ValueError) as error:
            raise ValueError(f'{where}: {name} is {shown(attributes.get(name))}, but must be a number') from error
    return numbers
