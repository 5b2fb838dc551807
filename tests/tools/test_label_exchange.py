"""Label maps to the formats of annotation tools and back from the command line, on a small built-in set."""

import json
import runpy
import shutil
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.shapes import PALETTE, ShapesSettings, write_shapes
from sipe_mmseg.engine.label_exchange import FORMATS

TOOLS = Path(__file__).parents[2] / 'tools'
TRAIN = [f'train_{index:04d}' for index in range(4)]
SOURCES = {'coco-rle': 'annotations.json', 'cvat': 'annotations.xml', 'labelme': ''}


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=len(TRAIN), num_val=1, size=64))
    for index, name in enumerate(TRAIN):
        labels = np.array(Image.open(home / 'shapes' / 'SegmentationClass' / f'{name}.png'))
        labels[: 5 * index, ::2] = 255
        write_label_png(home / 'labels' / f'{name}.png', labels, PALETTE)
    return home


@pytest.fixture(autouse=True)
def root(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))


def run(tool: str, *arguments: object, split: str = 'train') -> int:
    words = [*map(str, arguments), '--dataset', 'shapes', '--split', split]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, 'argv', [str(TOOLS / tool), *words])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    return int(stop.value.code or 0)


def pixels(folder: Path) -> dict[str, list]:
    return {path.name: np.array(Image.open(path)).tolist() for path in folder.glob('*.png')}


@pytest.mark.parametrize('format', FORMATS)
def test_there_and_back(format: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run('export_labels.py', home / 'labels', '--format', format, '--out', tmp_path / 'out') == 0
    printed = capsys.readouterr()
    assert 'label maps of 4 images' in printed.out and '4/4 images' in printed.err
    for source in {tmp_path / 'out', tmp_path / 'out' / SOURCES[format]}:
        back = tmp_path / f'back_{source.name}'
        assert run('import_labels.py', source, '--format', format, '--out', back) == 0
        assert 'label maps of 4 images, 4 of them from' in capsys.readouterr().out
        assert pixels(back) == pixels(home / 'labels')
        image = Image.open(back / f'{TRAIN[0]}.png')
        assert image.mode == 'P' and image.getpalette()[3:6] == list(PALETTE[1])
        settings = json.loads((back / 'settings.json').read_text())
        assert settings['tool'] == f'import_labels {format}' and len(settings['source_sha256']) == 64


def test_masks_of_labelme(home: Path, tmp_path: Path) -> None:
    words = ('--format', 'labelme', '--out')
    assert run('export_labels.py', home / 'labels', *words, tmp_path / 'out', '--shapes', 'mask') == 0
    content = json.loads((tmp_path / 'out' / f'{TRAIN[1]}.json').read_text())
    assert {shape['shape_type'] for shape in content['shapes']} == {'mask'}
    assert run('import_labels.py', tmp_path / 'out', *words, tmp_path / 'back') == 0
    assert pixels(tmp_path / 'back') == pixels(home / 'labels')


def test_what_the_tools_are_given(home: Path, tmp_path: Path) -> None:
    for format in FORMATS:
        assert run('export_labels.py', home / 'labels', '--format', format, '--out', tmp_path / format) == 0
    names = ['background', 'stripes', 'rings', 'dots', 'checks', 'star', 'unknown']
    assert (tmp_path / 'labelme' / 'labels.txt').read_text().split() == names
    labels = json.loads((tmp_path / 'cvat' / 'labels.json').read_text())
    assert [label['name'] for label in labels] == names and labels[1]['color'] == '#e45756'
    content = json.loads((tmp_path / 'labelme' / f'{TRAIN[2]}.json').read_text())
    image = (tmp_path / 'labelme' / content['imagePath']).resolve()
    assert image == (home / 'shapes' / 'JPEGImages' / f'{TRAIN[2]}.jpg').resolve()
    assert (content['imageWidth'], content['imageHeight']) == Image.open(image).size
    images = json.loads((tmp_path / 'coco-rle' / 'annotations.json').read_text())['images']
    assert [item['file_name'] for item in images] == [f'{name}.jpg' for name in TRAIN]


def test_a_person_draws_a_polygon(home: Path, tmp_path: Path) -> None:
    """On one image in CVAT and in labelme; the others keep the label maps of --base."""
    expected = pixels(home / 'labels')
    size = np.array(expected[f'{TRAIN[0]}.png']).shape
    assert run('export_labels.py', home / 'labels', '--format', 'cvat', '--out', tmp_path / 'cvat') == 0
    tree = ET.parse(tmp_path / 'cvat' / 'annotations.xml')
    root = tree.getroot()
    for image in root.findall('image')[1:]:
        root.remove(image)
    (image,) = root.findall('image')
    image.set('name', f'some/folder/{TRAIN[0]}.jpg')
    points = '0.00,0.00;10.00,0.00;10.00,4.00;0.00,4.00'
    ET.SubElement(image, 'polygon', label='star', source='manual', occluded='0', points=points, z_order='0')
    tree.write(tmp_path / 'annotations.xml')
    with zipfile.ZipFile(tmp_path / 'task.zip', 'w') as archive:
        archive.write(tmp_path / 'annotations.xml', 'annotations.xml')
    labels = np.array(expected[f'{TRAIN[0]}.png'])
    labels[:4, :10] = 5
    expected[f'{TRAIN[0]}.png'] = labels.tolist()

    (tmp_path / 'labelme').mkdir()
    assert run('export_labels.py', home / 'labels', '--format', 'labelme', '--out', tmp_path / 'all') == 0
    content = json.loads((tmp_path / 'all' / f'{TRAIN[0]}.json').read_text())
    content['shapes'].append(dict(label='star', shape_type='rectangle', points=[[0, 0], [10, 4]]))
    (tmp_path / 'labelme' / f'{TRAIN[0]}.json').write_text(json.dumps(content))
    assert (content['imageHeight'], content['imageWidth']) == size

    for format, source in (('cvat', 'task.zip'), ('labelme', 'labelme')):
        words = ('--format', format, '--base', home / 'labels', '--out', tmp_path / f'back_{format}')
        assert run('import_labels.py', tmp_path / source, *words) == 0
        assert pixels(tmp_path / f'back_{format}') == expected


def test_tolerance(home: Path, tmp_path: Path) -> None:
    sizes = []
    for tolerance in ('0', '1.5'):
        words = ('--format', 'labelme', '--out', tmp_path / tolerance, '--tolerance', tolerance)
        assert run('export_labels.py', home / 'labels', *words) == 0
        content = json.loads((tmp_path / tolerance / f'{TRAIN[0]}.json').read_text())
        sizes.append(sum(len(shape['points']) for shape in content['shapes']))
    assert sizes[1] < sizes[0] / 2


def test_nobodys_work_is_overwritten(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / f'{TRAIN[0]}.json').write_text('my work')
    words = ('--format', 'labelme', '--out', tmp_path / 'mine')
    assert run('export_labels.py', home / 'labels', *words) == 1
    assert f'{tmp_path}/mine: exists already, perhaps with the work of a person in it' in capsys.readouterr().err
    assert run('import_labels.py', tmp_path / 'mine', *words) == 1
    assert 'exists already' in capsys.readouterr().err
    assert [path.read_text() for path in (tmp_path / 'mine').iterdir()] == ['my work']


def test_a_link_leads_to_the_folder(home: Path, tmp_path: Path) -> None:
    """As where results lie on another disk."""
    (tmp_path / 'disk/empty').mkdir(parents=True)
    for name in ('empty', 'new'):
        (tmp_path / name).symlink_to(tmp_path / 'disk' / name)
        assert run('export_labels.py', home / 'labels', '--format', 'labelme', '--out', tmp_path / name) == 0
        content = json.loads((tmp_path / name / f'{TRAIN[2]}.json').read_text())
        assert (tmp_path / 'disk' / name / content['imagePath']).is_file()
        (tmp_path / f'{name}_back').symlink_to(tmp_path / 'disk' / f'{name}_back')
        words = ('--format', 'labelme', '--out', tmp_path / f'{name}_back')
        assert run('import_labels.py', tmp_path / name, *words) == 0
        assert pixels(tmp_path / 'disk' / f'{name}_back') == pixels(home / 'labels')


def test_dots_in_a_name_are_no_suffix(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A copy of somebody's, <image>.old.json, is not the image's; <image>.png is that of <image>.jpg."""
    assert run('export_labels.py', home / 'labels', '--format', 'labelme', '--out', tmp_path / 'lm') == 0
    shutil.copy(tmp_path / 'lm' / f'{TRAIN[0]}.json', tmp_path / 'lm' / f'{TRAIN[0]}.old.json')
    words = ('--format', 'labelme', '--out', tmp_path / 'back')
    assert run('import_labels.py', tmp_path / 'lm', *words) == 1
    assert f'1 of its images are not among the 4 of the data set: {TRAIN[0]}.old. Name' in capsys.readouterr().err
    assert run('export_labels.py', home / 'labels', '--format', 'coco-rle', '--out', tmp_path / 'coco') == 0
    path = tmp_path / 'coco' / 'annotations.json'
    path.write_text(path.read_text().replace('.jpg', '.PNG'))
    assert run('import_labels.py', path, '--format', 'coco-rle', '--out', tmp_path / 'back') == 0
    assert pixels(tmp_path / 'back') == pixels(home / 'labels')


def test_wrong_input_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def message_of(tool: str, source: Path, *arguments: object, split: str = 'train') -> str:
        assert run(tool, source, *arguments, '--out', tmp_path / 'new', split=split) == 1
        assert not (tmp_path / 'new').exists()
        return capsys.readouterr().err

    message = message_of('export_labels.py', home / 'labels', '--format', 'cvat', split='val')
    assert '1 of 1 images have no .png file: val_' in message
    shutil.copytree(home / 'labels', tmp_path / 'labels')
    write_label_png(tmp_path / 'labels' / f'{TRAIN[1]}.png', np.zeros((3, 4), np.uint8), PALETTE)
    message = message_of('export_labels.py', tmp_path / 'labels', '--format', 'coco-rle')
    assert f'{TRAIN[1]}.png: has 4x3 pixels' in message

    assert 'fly.json: no such file' in message_of('import_labels.py', tmp_path / 'fly.json', '--format', 'coco-rle')
    assert 'fly: no such folder' in message_of('import_labels.py', tmp_path / 'fly', '--format', 'labelme')
    assert run('export_labels.py', home / 'labels', '--format', 'labelme', '--out', tmp_path / 'lm') == 0
    path = tmp_path / 'lm' / f'{TRAIN[2]}.json'
    content = json.loads(path.read_text())
    lm = ('import_labels.py', tmp_path / 'lm', '--format', 'labelme')
    path.write_text(json.dumps({**content, 'imageWidth': 1}))
    message = message_of(*lm)
    assert f'{TRAIN[2]}.json: of an image of 1x' in message and f'{TRAIN[2]}.jpg has' in message
    path.write_text(json.dumps({**content, 'shapes': [{**content['shapes'][0], 'label': 'stipes'}]}))
    assert f"{TRAIN[2]}.json: 'stipes' is not a class; did you mean 'stripes'?" in message_of(*lm)
    path.rename(tmp_path / 'lm' / 'other.json')
    assert '1 of its images are not among the 4 of the data set: other. Name the split' in message_of(*lm)
    (tmp_path / 'lm' / 'other.json').unlink()
    assert f'1 of 4 images are not in it: {TRAIN[2]}. Name a split' in message_of(*lm)
    assert f'1 of 1 images have no .png file: {TRAIN[2]}' in message_of(*lm, '--base', tmp_path / 'lm')

    assert run('export_labels.py', home / 'labels', '--format', 'coco-rle', '--out', tmp_path / 'coco') == 0
    path = tmp_path / 'coco' / 'annotations.json'
    content = json.loads(path.read_text())
    content['images'].append({**content['images'][0], 'id': 9, 'file_name': f'copy/{TRAIN[0]}.jpg'})
    path.write_text(json.dumps(content))
    assert 'a second entry for the image' in message_of('import_labels.py', path, '--format', 'coco-rle')


def test_options_that_do_not_fit(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ('export_labels.py', home / 'labels', '--out', tmp_path / 'new')
    assert run(*words, '--format', 'cvat', '--tolerance', '1') == 2
    assert '--tolerance is for the polygons of --format labelme' in capsys.readouterr().err
    assert run(*words, '--format', 'labelme', '--tolerance', '-1') == 2
