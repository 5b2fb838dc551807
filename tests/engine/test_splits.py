"""Which data set a command line means."""

from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from sipe_mmseg.engine.splits import build_dataset, load_config, split_config, without_masks

SHIPPED = Path(__file__).parents[2] / 'configs/_base_/datasets'


def test_config_by_name_or_by_path(tmp_path: Path) -> None:
    options = {'test_dataloader.dataset.data_root': 'here'}
    assert load_config('voc12', SHIPPED, options).test_dataloader.dataset.data_root == 'here'
    (tmp_path / 'mine.py').write_text('a = 1')
    assert load_config(str(tmp_path / 'mine.py'), SHIPPED).a == 1
    with pytest.raises(FileNotFoundError, match=r'voc13: no such config .* \(coco14, custom, shapes, voc12\)'):
        load_config('voc13', SHIPPED)


def test_split_is_a_list_or_what_the_config_calls_so() -> None:
    config = load_config('voc12', SHIPPED)
    assert split_config(config, None) == config.test_dataloader.dataset
    assert split_config(config, 'trainaug').ann_file == 'trainaug'
    coco = load_config('coco14', SHIPPED)
    assert split_config(coco, 'val2014').data_prefix == dict(img_path='val2014', seg_map_path='masks/val2014')
    assert split_config(coco, 'val2014').labels == dict(coco='annotations/instances_val2014.json')
    # Each split is whole: what one has does not linger in another.
    assert split_config(coco, 'train2014') == coco.test_dataloader.dataset
    assert split_config(load_config('shapes', SHIPPED), 'train').ann_file == 'ImageSets/Segmentation/train.txt'
    custom = load_config('custom', SHIPPED)
    assert split_config(custom, 'val') == custom.test_dataloader.dataset
    assert 'seg_map_path' not in split_config(custom, 'train').data_prefix


def test_config_without_data_set(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text('test_dataloader = None')
    with pytest.raises(ValueError, match=r'mine\.py: has no test_dataloader'):
        split_config(Config.fromfile(tmp_path / 'mine.py'), 'train')


@pytest.mark.parametrize('kind', ['ImageLevelDataset', 'PascalVOCDataset'])
def test_missing_list_names_the_splits(tmp_path: Path, kind: str) -> None:
    (tmp_path / 'images').mkdir()
    dataset = ConfigDict(
        type=kind, data_root=str(tmp_path), ann_file='fly', data_prefix=dict(img_path='images'), test_mode=True
    )
    if kind == 'ImageLevelDataset':
        dataset.metainfo = dict(classes=('background', 'cat'))
    with pytest.raises(FileNotFoundError, match=r'fly.*Splits that the config names: train, val'):
        build_dataset(dataset, {'train': {}, 'val': {}})


def test_without_masks() -> None:
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    given = ConfigDict(
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]),
        ],
    )
    before = given.to_dict()
    found = without_masks(given)
    assert found.data_prefix == dict(img_path='images')
    assert found.pipeline == [
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=[flips, [dict(type='PackSegInputs')]]),
    ]
    assert given.to_dict() == before
