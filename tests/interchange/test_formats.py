"""Every format gives the label map back, and reads what a person draws; what is wrong is named."""

import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.interchange.coco import COCOAnnotations, read_coco
from sipe_mmseg.interchange.cvat import cvat_labels, cvat_xml, read_cvat
from sipe_mmseg.interchange.drawing import Drawing, draw_label_map, drawn_names
from sipe_mmseg.interchange.labelme import labelme_content, read_labelme

CLASSES = ('background', *(f'class {index}' for index in range(1, 21)))
Write = Callable[[Path, list[tuple[str, np.ndarray]]], list[Drawing]]


def label_maps() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    hole = np.zeros((6, 8), np.uint8)
    hole[1:5, 1:7] = 3
    hole[2:4, 2:4] = 0
    hole[3, 5] = 255
    hole[0, 7] = 20
    return [
        ('empty.jpg', np.zeros((4, 5), np.uint8)),
        ('hole.png', hole),
        ('full.jpg', np.full((3, 2), 7, np.uint8)),
        ('unknown.jpg', np.full((2, 3), 255, np.uint8)),
        ('more/all <&"> classes.jpg', np.tile(np.arange(21, dtype=np.uint8), (5, 2))),
        ('noise.jpg', rng.choice([0, 1, 2, 255], size=(23, 31)).astype(np.uint8)),
    ]


def through_coco(folder: Path, maps: list[tuple[str, np.ndarray]]) -> list[Drawing]:
    annotations = COCOAnnotations(CLASSES)
    for name, labels in maps:
        annotations.add(name, labels)
    (folder / 'coco.json').write_text(json.dumps(annotations.content))
    return list(read_coco(str(folder / 'coco.json')))


def through_cvat(folder: Path, maps: list[tuple[str, np.ndarray]]) -> list[Drawing]:
    (folder / 'cvat.xml').write_text(''.join(cvat_xml(iter(maps), len(maps), CLASSES, 'labels')), encoding='utf-8')
    return list(read_cvat(str(folder / 'cvat.xml')))


def through_labelme(shapes: Any) -> Write:
    def write(folder: Path, maps: list[tuple[str, np.ndarray]]) -> list[Drawing]:
        drawings = []
        for index, (name, labels) in enumerate(maps):
            path = folder / f'{index}.json'
            path.write_text(json.dumps(labelme_content(f'../{name}', labels, CLASSES, shapes)))
            drawings.append(read_labelme(str(path), name))
        return drawings

    return write


FORMATS = {
    'coco-rle': through_coco,
    'cvat': through_cvat,
    'labelme polygons': through_labelme('polygon'),
    'labelme masks': through_labelme('mask'),
}


@pytest.mark.parametrize('name', FORMATS)
def test_label_maps_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    maps = label_maps()
    drawings = FORMATS[name](tmp_path, maps)
    assert [drawing.name for drawing in drawings] == [file_name for file_name, _ in maps]
    for (file_name, labels), drawing in zip(maps, drawings, strict=True):
        assert drawing.size == labels.shape
        assert (draw_label_map(drawing, CLASSES) == labels).all(), file_name


def test_later_shapes_lie_over_earlier_ones() -> None:
    everywhere = np.ones((2, 3), bool)
    left = np.array([[1, 0, 0], [1, 0, 0]], bool)
    shapes = [('class 1', everywhere), ('class 2', left), ('background', ~everywhere | (np.arange(3) == 1))]
    drawing = Drawing('a', (2, 3), shapes, 'a.json')
    assert draw_label_map(drawing, CLASSES).tolist() == [[2, 0, 1], [2, 0, 1]]


def test_unknown_names() -> None:
    drawing = Drawing('a', (1, 1), [('clas 2', np.ones((1, 1), bool))], 'a.json')
    with pytest.raises(
        ValueError, match=r"a\.json: 'clas 2' is not a class; did you mean 'class 2'\? There are backgr"
    ):
        draw_label_map(drawing, CLASSES)
    with pytest.raises(ValueError, match=r"a class is called 'unknown', which is the name of pixels without a known"):
        drawn_names(('background', 'unknown'))


# COCO -----------------------------------------------------------------------------------------------------------------


def test_fields_of_coco() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[1, 2] = labels[3, 4] = 5
    labels[0, 0] = 255
    annotations = COCOAnnotations(CLASSES)
    annotations.add('a.jpg', np.zeros((1, 1), np.uint8))
    annotations.add('b.jpg', labels)
    content = annotations.content
    assert content['images'][1] == dict(id=2, file_name='b.jpg', height=4, width=6)
    assert [item['id'] for item in content['categories']] == [*range(1, 21), 255]
    assert content['categories'][-1]['name'] == 'unknown'
    first, second = content['annotations']
    assert (first['id'], first['image_id'], first['category_id'], first['iscrowd']) == (1, 2, 5, 0)
    assert (first['area'], first['bbox'], first['segmentation']['size']) == (2, [2, 1, 3, 3], [4, 6])
    assert (second['category_id'], second['area'], second['bbox']) == (255, 1, [0, 0, 1, 1])


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    theirs = pytest.importorskip('pycocotools.coco')
    maps = label_maps()
    through_coco(tmp_path, maps)
    coco = theirs.COCO(str(tmp_path / 'coco.json'))
    for image_id, (_, labels) in enumerate(maps, start=1):
        found = np.zeros_like(labels)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image_id)):
            mask = coco.annToMask(annotation).astype(bool)
            rle = coco.annToRLE(annotation)
            assert theirs.maskUtils.area(rle) == annotation['area'] == mask.sum()
            assert theirs.maskUtils.toBbox(rle).tolist() == annotation['bbox']
            found[mask] = annotation['category_id']
        assert (found == labels).all()


def test_coco_of_another_tool(tmp_path: Path) -> None:
    """Categories numbered otherwise, polygons, uncompressed runs, and a crowd, as CVAT marks every mask."""
    content = dict(
        images=[dict(id=9, file_name='a.jpg', height=3, width=4)],
        categories=[dict(id=1, name='class 20'), dict(id=2, name='background'), dict(id=3, name='class 4')],
        annotations=[
            dict(id=1, image_id=9, category_id=1, segmentation=dict(size=[3, 4], counts=[0, 12]), iscrowd=1),
            dict(id=2, image_id=9, category_id=3, segmentation=[[0, 0, 2, 0, 2, 2, 0, 2]], iscrowd=0),
            dict(id=3, image_id=9, category_id=2, segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]], iscrowd=0),
        ],
    )
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(content))
    (drawing,) = read_coco(str(path))
    assert draw_label_map(drawing, CLASSES).tolist() == [[0, 4, 20, 20], [4, 4, 20, 20], [20, 20, 20, 20]]
    content['annotations'][1]['segmentation'] = dict(size=[4, 3], counts='<')
    path.write_text(json.dumps(content))
    (drawing,) = read_coco(str(path))
    with pytest.raises(ValueError, match=r'coco\.json: a\.jpg, annotation 2: runs have size \[4, 3\], but .* \[3, 4\]'):
        draw_label_map(drawing, CLASSES)


# LabelMe --------------------------------------------------------------------------------------------------------------


def labelme_file(folder: Path, *shapes: dict, **changes: Any) -> str:
    content = dict(version='6.3.1', flags={}, imagePath='a.jpg', imageData=None, imageHeight=6, imageWidth=8)
    drawn = [dict(dict(label='class 1', group_id=None, flags={}), **shape) for shape in shapes]
    (folder / 'a.json').write_text(json.dumps({**content, 'shapes': drawn, **changes}))
    return str(folder / 'a.json')


def test_shapes_of_labelme(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], np.uint8)).save(file, 'PNG')
    mask = base64.b64encode(file.getvalue()).decode()
    for shape, expected in [
        (dict(shape_type='polygon', points=[[1, 1], [5.2, 1], [1, 5.2]]), ['', ' ####', ' ###', ' ##', ' #']),
        (dict(shape_type='rectangle', points=[[6.2, 4], [4, 1.4]]), ['', '    ##', '    ##', '    ##']),
        (
            dict(shape_type='oriented_rectangle', points=[[4, -0.2], [6.2, 2], [4, 4.2], [1.8, 2]]),
            ['   ##', '  ####', '  ####', '   ##'],
        ),
        (dict(shape_type='circle', points=[[3, 3], [4.7, 3]]), ['', '  ##', ' ####', ' ####', '  ##']),
        (dict(shape_type='mask', points=[[3, 1], [4, 2]], mask=mask), ['', '   #', '   ##']),
        (dict(shape_type='mask', points=[[7, -1], [8, 0]], mask=mask), ['       #']),
        (dict(shape_type='mask', points=[[-1, 4], [0, 5]], mask=mask), ['', '', '', '', '', '#']),
        (dict(shape_type='mask', points=[[9, 9], [10, 10]], mask=mask), []),
        (dict(shape_type='mask', points=[[-9, -9], [-8, -8]], mask=mask), []),
    ]:
        ((_, found),) = read_labelme(labelme_file(tmp_path, shape), 'a').shapes
        rows = [''.join(' #'[int(pixel)] for pixel in row).rstrip() for row in found]
        assert rows == [*expected, *[''] * (6 - len(expected))], shape


def in_base64(mode: str) -> str:
    content = io.BytesIO()
    Image.new(mode, (2, 2)).save(content, format='PNG')
    return base64.b64encode(content.getvalue()).decode()


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        (
            dict(shape_type='line', points=[[0, 0], [1, 1]]),
            r"a\.json, shape 1 \('class 1'\): a 'line' has no area; draw",
        ),
        (dict(shape_type='polygon', points=[[0, 0], [1, 1]]), 'a polygon has 3 of them or more'),
        (dict(shape_type='polygon', points=[[0, 0], [1, 1], [2]]), 'points must be pairs of numbers'),
        (dict(shape_type='polygon', points=[[0, 0], [1, 1], [2, float('nan')]]), 'points must be pairs of numbers'),
        (dict(shape_type='mask', points=[[0, 0], [1, 1]], mask='PNG!'), r'its mask is no PNG in base64'),
        (dict(shape_type='mask', points=[[0, 0], [1, 1]], mask='AAAA'), r'its mask is no PNG in base64'),
        (dict(shape_type='mask', points=[[0, 0], [1, 1]]), r'its mask is no PNG in base64'),
        (dict(shape_type='mask', points=[[0, 0], [1, 1]], mask=in_base64('RGB')), 'its mask has colours'),
        (dict(shape_type='polygon', points=[[0, 0], [1, 1], [2, 0]], label=7), 'its label is no text'),
    ],
)
def test_wrong_shapes_of_labelme(shape: dict, message: str, tmp_path: Path) -> None:
    drawing = read_labelme(labelme_file(tmp_path, shape), 'a')
    with pytest.raises(ValueError, match=message):
        draw_label_map(drawing, CLASSES)


def test_what_is_no_file_of_labelme(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json: has no list 'shapes'"):
        read_labelme(labelme_file(tmp_path, shapes=None), 'a')
    with pytest.raises(ValueError, match=r'a\.json: imageHeight 6 and imageWidth None are no size'):
        read_labelme(labelme_file(tmp_path, imageWidth=None), 'a')
    (tmp_path / 'a.json').write_text('{')
    with pytest.raises(ValueError, match=r'a\.json: not JSON'):
        read_labelme(str(tmp_path / 'a.json'), 'a')


@pytest.mark.parametrize('shapes', ['polygon', 'mask'])
def test_labelme_itself_reads_it(shapes: Any, tmp_path: Path) -> None:
    theirs = pytest.importorskip('labelme')
    rendering = pytest.importorskip('labelme.utils')
    labels = dict(label_maps())['hole.png']
    Image.fromarray(labels).save(tmp_path / 'hole.png')
    (tmp_path / 'hole.json').write_text(json.dumps(labelme_content('hole.png', labels, CLASSES, shapes)))
    file = theirs.LabelFile(str(tmp_path / 'hole.json'))
    assert file.image_path == 'hole.png'
    assert {shape['label'] for shape in file.shapes} >= {'class 3', 'class 20', 'unknown'}
    if shapes == 'mask':
        found, _ = rendering.shapes_to_label(labels.shape, file.shapes, drawn_names(CLASSES))
        assert (found == labels).all()


# CVAT -----------------------------------------------------------------------------------------------------------------


def cvat_file(folder: Path, *shapes: str, head: str = '', image: str = 'name="a.jpg" width="8" height="6"') -> str:
    text = f'<?xml version="1.0" encoding="utf-8"?>{head}<annotations><version>1.1</version><meta/>'
    text += f'<image id="0" {image}>{"".join(shapes)}<tag label="good" source="manual"/></image></annotations>'
    (folder / 'a.xml').write_text(text)
    return str(folder / 'a.xml')


def shape(tag: str, label: str = 'class 1', **attributes: object) -> str:
    listed = ''.join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<{tag} label="{label}" source="manual" occluded="0"{listed}><attribute name="a">b</attribute></{tag}>'


def test_shapes_of_cvat(tmp_path: Path) -> None:
    for text, expected in [
        (shape('polygon', points='1.00,1.00;5.20,1.00;1.00,5.20'), ['', ' ####', ' ###', ' ##', ' #']),
        (shape('box', xtl=4.0, ytl=1.4, xbr=6.2, ybr=4.0), ['', '    ##', '    ##', '    ##']),
        (shape('box', xtl=1, ytl=2, xbr=7, ybr=4, rotation='90.00'), ['   ##'] * 6),
        (shape('box', xtl=2, ytl=2, xbr=6, ybr=3, rotation='45.00'), ['', '  ##', '   ##', '    ##']),
        (shape('mask', rle='0, 1, 1, 2', left=3, top=1, width=2, height=2), ['', '   #', '   ##']),
    ]:
        (drawing,) = read_cvat(cvat_file(tmp_path, text))
        ((_, found),) = drawing.shapes
        rows = [''.join(' #'[int(pixel)] for pixel in row).rstrip() for row in found]
        assert rows == [*expected, *[''] * (6 - len(expected))], text


def test_order_of_cvat(tmp_path: Path) -> None:
    box = dict(xtl=0, ytl=0, xbr=8, ybr=6)
    shapes = [shape('box', 'class 3', **box, z_order=2), shape('box', 'class 4', **box, z_order=0)]
    (drawing,) = read_cvat(cvat_file(tmp_path, *shapes))
    assert (draw_label_map(drawing, CLASSES) == 3).all()
    (drawing,) = read_cvat(cvat_file(tmp_path, shapes[1], shape('box', 'class 5', **box)))
    assert (draw_label_map(drawing, CLASSES) == 5).all()


def test_zip_of_cvat(tmp_path: Path) -> None:
    path = cvat_file(tmp_path, shape('box', xtl=0, ytl=0, xbr=8, ybr=6))
    with zipfile.ZipFile(tmp_path / 'task.zip', 'w') as archive:
        archive.write(path, 'annotations.xml')
    (drawing,) = read_cvat(str(tmp_path / 'task.zip'))
    assert (draw_label_map(drawing, CLASSES) == 1).all()
    with zipfile.ZipFile(tmp_path / 'other.zip', 'w') as archive:
        archive.write(path, 'labelmap.xml')
    with pytest.raises(ValueError, match=r'other\.zip: has no annotations\.xml in it'):
        list(read_cvat(str(tmp_path / 'other.zip')))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (shape('polyline', points='0,0;1,1'), r"a\.xml, image 'a\.jpg', shape 1 \(polyline\): only mask, polygon, box"),
        (shape('polygon', points='0,0;1,1'), 'a polygon has three points or more'),
        (shape('polygon', points='0,0;1;2,2'), 'points must be x0,y0;x1,y1'),
        (
            shape('mask', rle='0, 3', left=3, top=1, width=2, height=2),
            'its rle cannot be read .runs cover 3 pixels, but',
        ),
        (shape('mask', rle='', left=3, top=1, width=2, height=2), 'its rle cannot be read'),
        (
            shape('mask', rle='0, 4', left=7, top=1, width=2, height=2),
            r'2x2 pixels at \(7, 1\) do not lie in the image',
        ),
        (shape('mask', rle='0, 4', left='x', top=1, width=2, height=2), "left is 'x', but must be a number"),
        (shape('box', xtl=0, ytl=0, xbr=1), 'ybr is None, but must be a number'),
        (shape('box', xtl=0, ytl=0, xbr=1, ybr=1, z_order='top'), "z_order is 'top', but must be a number"),
        ('<box xtl="0" ytl="0" xbr="1" ybr="1"/>', r'shape 1 \(box\): has no label'),
    ],
)
def test_wrong_shapes_of_cvat(text: str, message: str, tmp_path: Path) -> None:
    (drawing,) = read_cvat(cvat_file(tmp_path, text))
    with pytest.raises(ValueError, match=message):
        draw_label_map(drawing, CLASSES)


def test_what_is_no_file_of_cvat(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'a\.xml: has an image without a name'):
        list(read_cvat(cvat_file(tmp_path, image='width="8" height="6"')))
    with pytest.raises(ValueError, match=r"image 'a': height 0 and width 8 are no size"):
        list(read_cvat(cvat_file(tmp_path, image='name="a" width="8" height="0"')))
    for text, message in [
        ('<annotations><track/></annotations>', 'has tracks, as "CVAT for video" does'),
        ('<annotation/>', "the outermost element is 'annotation', but CVAT writes annotations"),
        ('<annotations>', r'a\.xml: not well-formed XML'),
    ]:
        (tmp_path / 'a.xml').write_text(text)
        with pytest.raises(ValueError, match=message):
            list(read_cvat(str(tmp_path / 'a.xml')))


def test_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / 'secret').write_text('secret')
    for head in [
        f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>',
        '<!DOCTYPE a [<!ENTITY e "ha"><!ENTITY f "&e;&e;&e;&e;">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    ]:
        with pytest.raises(ValueError, match=r'a\.xml: has a document type declaration'):
            list(read_cvat(cvat_file(tmp_path, head=head)))


def test_cvat_finds_all_it_needs(tmp_path: Path) -> None:
    """What its reader asks of the file: meta with the labels, and the attributes of image and mask."""
    through_cvat(tmp_path, label_maps())
    root = ElementTree.parse(tmp_path / 'cvat.xml').getroot()
    assert (root.tag, root.findtext('version'), root.findtext('meta/task/mode')) == ('annotations', '1.1', 'annotation')
    names = [label.findtext('name') for label in root.iterfind('meta/task/labels/label')]
    assert names == [*CLASSES, 'unknown'] == [label['name'] for label in cvat_labels(CLASSES, voc_palette(21))]
    images = root.findall('image')
    assert [image.get('id') for image in images] == [str(index) for index in range(len(label_maps()))]
    assert images[4].get('name') == 'more/all <&"> classes.jpg'
    assert {mask.tag for image in images for mask in image} == {'mask'}
    (mask,) = images[2]
    assert mask.attrib == dict(
        label='class 7', source='file', occluded='0', rle='0, 6', left='0', top='0', width='2', height='3', z_order='0'
    )


def test_colours_of_cvats_labels() -> None:
    labels = cvat_labels(('background', 'cat'), [(0, 0, 0), (128, 0, 10)])
    assert [label['color'] for label in labels] == ['#000000', '#80000a', '#ffffff']
