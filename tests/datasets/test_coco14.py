import json

import pytest
from mmseg.registry import DATASETS
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.coco14 import COCO14_CLASSES, COCO14ImageLevelDataset
from sipe_mmseg.datasets.palette import voc_palette

# The ids that the instances files leave out.
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = [category_id for category_id in range(1, 91) if category_id not in GAPS]
NAMES = [f'COCO_train2014_{number:012}.jpg' for number in range(4)]


@pytest.fixture
def root(tmp_path):
    """Four images: two classes and a crowd; the last category; no object; a crowd only."""
    content = {
        'categories': [
            {'id': category_id, 'name': name, 'supercategory': 'thing'}
            for category_id, name in zip(CATEGORY_IDS, COCO14_CLASSES[1:], strict=True)
        ],
        'images': [{'id': number, 'file_name': name, 'height': 40, 'width': 50} for number, name in enumerate(NAMES)],
        'annotations': [
            {'id': 1, 'image_id': 0, 'category_id': 13, 'iscrowd': 0, 'segmentation': [[0, 0, 9, 0, 9, 9]]},
            {'id': 2, 'image_id': 1, 'category_id': 90, 'iscrowd': 0, 'segmentation': [[0, 0, 9, 0, 9, 9]]},
            {
                'id': 3,
                'image_id': 0,
                'category_id': 1,
                'iscrowd': 1,
                'segmentation': {'counts': [2000], 'size': [40, 50]},
            },
            {'id': 4, 'image_id': 0, 'category_id': 13, 'iscrowd': 0, 'segmentation': [[0, 0, 9, 0, 9, 9]]},
            {
                'id': 5,
                'image_id': 3,
                'category_id': 1,
                'iscrowd': 1,
                'segmentation': {'counts': [2000], 'size': [40, 50]},
            },
        ],
    }
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train2014.json').write_text(json.dumps(content))
    (tmp_path / 'train2014').mkdir()
    for name in NAMES:
        Image.new('RGB', (50, 40)).save(tmp_path / 'train2014' / name)
    return tmp_path


def test_classes():
    assert len(COCO14_CLASSES) == len(set(COCO14_CLASSES)) == 81
    assert (COCO14_CLASSES[0], COCO14_CLASSES[1], COCO14_CLASSES[-1]) == ('background', 'person', 'toothbrush')
    # Two categories next to gaps: ids 13 and 84.
    assert COCO14_CLASSES[1 + CATEGORY_IDS.index(13)] == 'stop sign'
    assert COCO14_CLASSES[1 + CATEGORY_IDS.index(84)] == 'book'
    assert COCO14ImageLevelDataset.METAINFO['palette'] == voc_palette(81)


def test_images_without_objects_are_left_out_and_counted(root, monkeypatch):
    messages = []
    monkeypatch.setattr(
        'sipe_mmseg.datasets.image_level_dataset.print_log', lambda message, logger: messages.append(message)
    )
    dataset = DATASETS.build({'type': 'COCO14ImageLevelDataset', 'data_root': str(root)})
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    # Contiguous: category 13 is the 12th, so foreground index 11; 90 is the last. Crowds count.
    assert [(info['img_id'], info['image_labels'].tolist()) for info in infos] == [
        ('COCO_train2014_000000000000', [0, 11]),
        ('COCO_train2014_000000000001', [79]),
        ('COCO_train2014_000000000003', [0]),
    ]
    assert all('seg_map_path' not in info for info in infos)
    assert any(
        f'({NAMES[2]}) and are left out' in message and '1 of 4 images have no label' in message for message in messages
    )


def test_missing_image(root):
    (root / 'train2014' / NAMES[1]).unlink()
    with pytest.raises(ValueError, match=rf"instances_train2014\.json, '{NAMES[1]}': no such image in .*train2014"):
        COCO14ImageLevelDataset(data_root=str(root))


def test_val_and_masks(root):
    (root / 'train2014').rename(root / 'val2014')
    (root / 'masks').mkdir()
    for name in NAMES:
        Image.new('P', (50, 40)).save((root / 'masks' / name).with_suffix('.png'))
    dataset = COCO14ImageLevelDataset(
        {'coco': 'annotations/instances_train2014.json'},
        data_root=str(root),
        data_prefix={'img_path': 'val2014', 'seg_map_path': 'masks'},
    )
    assert dataset.get_data_info(0)['seg_map_path'] == f'{root}/masks/COCO_train2014_000000000000.png'


def test_categories_are_checked(root):
    path = root / 'annotations' / 'instances_train2014.json'
    content = json.loads(path.read_text())
    content['categories'][4]['name'] = 'aeroplane'
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"categories: 'aeroplane' is not a class; did you mean 'airplane'\?"):
        COCO14ImageLevelDataset(data_root=str(root))
    del content['categories'][4]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'categories: in the order of their ids they are person, bicycle'):
        COCO14ImageLevelDataset(data_root=str(root))


def test_classes_are_fixed(root):
    with pytest.raises(ValueError, match='COCO14ImageLevelDataset always has its own 81 classes'):
        COCO14ImageLevelDataset(data_root=str(root), metainfo={'classes': ('background', 'dog')})
