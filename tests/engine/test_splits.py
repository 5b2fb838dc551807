"""Which data set a command line means."""

from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from sipe_mmseg.engine.config_lookup import find_dataset_config
from sipe_mmseg.engine.splits import build_dataset, split_config, without_masks


def shipped(name: str) -> Config:
    return Config.fromfile(find_dataset_config(name))


def test_split_is_a_list_or_what_the_config_calls_so() -> None:
    config = shipped('voc12')
    assert split_config(config, None) == config.test_dataloader.dataset
    assert split_config(config, 'trainaug').ann_file == 'trainaug'
    coco = shipped('coco14')
    assert split_config(coco, 'val2014').data_prefix == dict(img_path='val2014', seg_map_path='masks/val2014')
    assert split_config(coco, 'val2014').labels == dict(coco='annotations/instances_val2014.json')
    # Each split is whole: what one has does not linger in another.
    assert split_config(coco, 'train2014') == coco.test_dataloader.dataset
    assert split_config(shipped('shapes'), 'train').ann_file == 'ImageSets/Segmentation/train.txt'
    custom = shipped('custom')
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
