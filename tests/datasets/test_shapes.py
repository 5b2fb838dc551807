"""The built-in data set: what its pictures and files must be."""

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from sipe_mmseg.datasets import shapes
from sipe_mmseg.datasets.shapes import CLASSES, PALETTE, Picture, ShapesSettings, draw_picture, write_shapes

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/shapes.py'
SMALL = ShapesSettings(num_train=3, num_val=2, size=96)


@pytest.fixture(scope='module')
def pictures() -> list[Picture]:
    return [draw_picture(0, index) for index in range(60)]


@pytest.fixture(scope='module')
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('sets') / 'shapes'
    assert write_shapes(root, SMALL)
    return root


def test_same_seed_and_index_give_the_same_picture_and_others_do_not() -> None:
    first, again = draw_picture(3, 5), draw_picture(3, 5)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label_map, again.label_map)
    assert first.beetles == again.beetles
    for other in (draw_picture(3, 6), draw_picture(4, 5)):
        assert other.image.shape != first.image.shape or (other.image != first.image).mean() > 0.5


def test_image_and_maps_fit_each_other_and_the_size_asked_for(pictures: list[Picture]) -> None:
    for picture in pictures:
        height, width = picture.label_map.shape
        assert picture.image.shape == (height, width, 3)
        assert picture.image.dtype == picture.label_map.dtype == np.uint8
        assert picture.head_map.shape == (height, width)
        assert max(height, width) == 160
        assert min(height, width) >= 120


def test_every_picture_has_one_to_three_beetles_and_their_classes_alone(pictures: list[Picture]) -> None:
    for picture in pictures:
        assert 1 <= len(picture.beetles) <= 3
        assert set(np.unique(picture.label_map)) == {0} | {beetle.class_index for beetle in picture.beetles}


def test_the_set_has_all_classes_and_pictures_of_one_two_and_three_classes(pictures: list[Picture]) -> None:
    classes = [{beetle.class_index for beetle in picture.beetles} for picture in pictures]
    assert set.union(*classes) == set(range(1, len(CLASSES)))
    assert {len(present) for present in classes} == {1, 2, 3}
    assert {len(picture.beetles) for picture in pictures} == {1, 2, 3}


def test_boxes_are_the_extent_of_the_visible_pixels(pictures: list[Picture]) -> None:
    alone = [picture for picture in pictures if len(picture.beetles) == 1]
    assert alone
    for picture in alone:
        rows, columns = np.nonzero(picture.label_map)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert picture.beetles[0].box == box


def test_heads_are_part_of_the_animals_and_the_smaller_part(pictures: list[Picture]) -> None:
    for picture in pictures:
        assert picture.head_map.any()
        # The edges of head and animal are rounded to whole pixels by themselves.
        assert (picture.head_map & (picture.label_map == 0)).sum() <= 0.05 * picture.head_map.sum()
        assert picture.head_map.sum() < 0.4 * (picture.label_map > 0).sum()


def test_masks_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the picture differs from its bare ground there is a beetle, and nowhere else."""
    picture = draw_picture(1, 0)
    monkeypatch.setattr(shapes, '_free_pose', lambda rng, *_: None)
    monkeypatch.setattr(shapes, '_block_majority', lambda owner: owner[1::3, 1::3])
    ground = draw_picture(1, 0)
    assert not ground.beetles
    # The grain of the two is not the same, but it is far weaker than the beetles' colours.
    difference = np.abs(picture.image.astype(int) - ground.image.astype(int)).max(axis=2)
    changed = difference > 25
    assert (changed & (picture.label_map > 0)).sum() > 0.9 * (picture.label_map > 0).sum()
    assert (changed & (picture.label_map == 0)).sum() < 0.03 * (picture.label_map > 0).sum()


def test_heads_of_a_class_look_alike_and_bodies_of_a_class_do_not() -> None:
    """What the set is for: marks of one colour on every head of a class, bodies whose hues overlap between classes."""
    hues: dict[int, list[float]] = {}
    for index in range(150):
        picture = draw_picture(2, index)
        if len(picture.beetles) > 1:
            continue
        class_index = picture.beetles[0].class_index
        marks = np.array(shapes.MARK_COLOURS[class_index - 1])
        distance = np.abs(picture.image.astype(int) - marks).max(axis=2)
        close = distance < 40
        head = picture.head_map
        assert close[head].mean() > 0.1
        body = (picture.label_map > 0) & ~head
        hue = np.array(Image.fromarray(picture.image).convert('HSV'))[body][:, 0] / 255
        mean = np.angle(np.exp(2j * np.pi * hue).mean()) / (2 * np.pi)
        favourite = shapes.FAVOURITE_HUES[class_index - 1]
        hues.setdefault(class_index, []).append((mean - favourite + 0.5) % 1.0 - 0.5)
    spread = np.std([offset for offsets in hues.values() for offset in offsets])
    assert len(hues) == len(CLASSES) - 1
    assert 0.05 < spread < 0.1


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r'size=32: below 64 pixels'):
        draw_picture(0, 0, size=32)


def test_files_are_in_the_layout_of_voc(small_set: Path) -> None:
    train = (small_set / 'ImageSets/Segmentation/train.txt').read_text().split()
    val = (small_set / 'ImageSets/Segmentation/val.txt').read_text().split()
    assert (train, val) == (['train_0000', 'train_0001', 'train_0002'], ['val_0000', 'val_0001'])
    for folder, suffix in (('JPEGImages', '.jpg'), ('SegmentationClass', '.png'), ('Annotations', '.xml')):
        assert sorted(path.name for path in (small_set / folder).iterdir()) == [name + suffix for name in train + val]


def test_files_hold_what_was_drawn(small_set: Path) -> None:
    picture = draw_picture(SMALL.seed, 1, SMALL.size)
    with Image.open(small_set / 'JPEGImages/train_0001.jpg') as image:
        loss = np.abs(np.asarray(image).astype(int) - picture.image)
    assert loss.mean() < 4
    with Image.open(small_set / 'SegmentationClass/train_0001.png') as mask:
        assert mask.mode == 'P'
        assert mask.getpalette()[: 3 * len(PALETTE)] == [value for colour in PALETTE for value in colour]
        np.testing.assert_array_equal(np.asarray(mask), picture.label_map)
    root = ET.parse(small_set / 'Annotations/train_0001.xml').getroot()
    height, width = picture.label_map.shape
    assert root.findtext('filename') == 'train_0001.jpg'
    assert (root.findtext('size/width'), root.findtext('size/height')) == (str(width), str(height))
    assert [item.findtext('name') for item in root.findall('object')] == [
        CLASSES[beetle.class_index] for beetle in picture.beetles
    ]
    for item, beetle in zip(root.findall('object'), picture.beetles, strict=True):
        left, top, right, bottom = beetle.box
        corners = [int(item.findtext(f'bndbox/{tag}', '')) for tag in ('xmin', 'ymin', 'xmax', 'ymax')]
        assert corners == [left + 1, top + 1, right, bottom]


def test_the_config_reads_the_set(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(small_set))
    config = Config.fromfile(CONFIG)
    assert tuple(config.metainfo.classes) == CLASSES
    assert [tuple(colour) for colour in config.metainfo.palette] == list(PALETTE)
    train = DATASETS.build(config.train_dataloader.dataset)
    val = DATASETS.build(config.val_dataloader.dataset)
    assert (len(train), len(val)) == (3, 2)
    expected = sorted({beetle.class_index - 1 for beetle in draw_picture(SMALL.seed, 0, SMALL.size).beetles})
    assert train.get_data_info(0)['image_labels'].tolist() == expected
    assert 'seg_map_path' not in train.get_data_info(0)
    sample = val[0]['data_samples']
    assert sample.gt_sem_seg.shape == sample.ori_shape


def test_a_complete_set_is_left_alone(small_set: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_set.rglob('*')}
    assert not write_shapes(small_set, SMALL)
    assert {path: path.stat().st_mtime_ns for path in small_set.rglob('*')} == before


def test_val_pictures_do_not_depend_on_how_many_there_are_to_train(small_set: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / 'other', ShapesSettings(num_train=1, num_val=1, size=SMALL.size))
    name = 'JPEGImages/val_0000.jpg'
    assert (tmp_path / 'other' / name).read_bytes() == (small_set / name).read_bytes()


def test_progress_is_reported(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = ShapesSettings(num_train=1, num_val=1, size=64)
    write_shapes(tmp_path / 'shapes', settings, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


def test_an_interrupted_set_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / 'shapes', SMALL, stop)
    assert os.listdir(tmp_path) == []


def test_another_set_in_the_folder_is_refused(small_set: Path) -> None:
    other = ShapesSettings(num_train=3, num_val=2, size=96, seed=1)
    with pytest.raises(ValueError, match=re.escape(f'{small_set}: holds the set')) as error:
        write_shapes(small_set, other)
    assert 'seed: was 0, now 1' in str(error.value)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match=re.escape(f'{tmp_path}: holds something that is not the built-in data set')):
        write_shapes(tmp_path, SMALL)
    assert os.listdir(tmp_path) == ['notes.txt']


def test_missing_files_are_named(tmp_path: Path) -> None:
    settings = ShapesSettings(num_train=1, num_val=1, size=64)
    write_shapes(tmp_path / 'shapes', settings)
    (tmp_path / 'shapes/SegmentationClass/val_0000.png').unlink()
    with pytest.raises(ValueError, match=r'1 files are missing, such as SegmentationClass/val_0000\.png; delete'):
        write_shapes(tmp_path / 'shapes', settings)


def test_a_set_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='num_train=0, num_val=5: both must be at least 1'):
        write_shapes(tmp_path / 'shapes', ShapesSettings(num_train=0, num_val=5))


def test_settings_on_disk_are_readable(small_set: Path) -> None:
    assert json.loads((small_set / 'shapes.json').read_text())['size'] == 96


def test_a_plain_folder_is_what_the_template_for_own_pictures_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = ('dots', 'stripes')
    settings = ShapesSettings(num_train=4, num_val=2, size=64, classes=classes, layout='folder')
    root = tmp_path / 'pictures'
    assert write_shapes(root, settings)
    assert not write_shapes(root, settings)
    assert sorted(path.name for path in root.iterdir()) == ['images', 'labels', 'masks', 'shapes.json']
    assert [path.name for path in (root / 'masks').iterdir()] == ['val'], 'nobody draws masks of what he trains on'
    rows = (root / 'labels/train.csv').read_text().splitlines()
    assert rows[0] == 'image,labels' and len(rows) == 5

    text = (CONFIG.parent / 'custom.py').read_text()
    for before, after in (
        ("('background', 'cat', 'dog')", str(('background', *classes))),
        ("dict(json='labels/train.json')\nval", "dict(csv='labels/train.csv')\nval"),
        ("dict(json='labels/val.json')", "dict(csv='labels/val.csv')"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    (tmp_path / 'pictures.py').write_text(text)
    monkeypatch.setenv('CUSTOM_ROOT', str(root))
    config = Config.fromfile(tmp_path / 'pictures.py')
    train, val = (DATASETS.build(config[name].dataset) for name in ('train_dataloader', 'test_dataloader'))
    assert (len(train), len(val)) == (4, 2)
    for index in range(4):
        picture = draw_picture(0, index, 64, classes)
        present = sorted({beetle.class_index - 1 for beetle in picture.beetles})
        assert train.get_data_info(index)['image_labels'].tolist() == present
    mask = Image.open(root / 'masks/val/val_0001.png')
    np.testing.assert_array_equal(np.asarray(mask), draw_picture(0, 1_000_001, 64, classes).label_map)
    assert mask.getpalette()[3:9] == [*PALETTE[CLASSES.index('dots')], *PALETTE[CLASSES.index('stripes')]]


def test_all_classes_in_their_order_give_the_pictures_that_there_always_were() -> None:
    some, every = draw_picture(0, 5, classes=CLASSES[1:]), draw_picture(0, 5)
    np.testing.assert_array_equal(some.image, every.image)
    assert draw_picture(0, 5, classes=('star',)).label_map.max() == 1


@pytest.mark.parametrize('classes', [(), ('dots', 'dots'), ('dots', 'cats')])
def test_classes_that_are_none_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match='different ones of stripes, rings, dots, checks, star'):
        draw_picture(0, 0, classes=classes)


def test_a_set_of_before_there_were_classes_to_choose_is_still_this_set(tmp_path: Path) -> None:
    settings = ShapesSettings(num_train=1, num_val=1, size=64)
    write_shapes(tmp_path / 'shapes', settings)
    manifest = tmp_path / 'shapes/shapes.json'
    old = json.loads(manifest.read_text())
    del old['classes'], old['layout']
    manifest.write_text(json.dumps(old))
    assert not write_shapes(tmp_path / 'shapes', settings)
