"""Weights that a config begins with: where they are, or will be."""

import pytest
from mmengine.config import Config

from sipe_mmseg.engine.pretrained_weights import find_pretrained_weights


@pytest.mark.parametrize(
    'address, name',
    [
        ('torchvision://resnet50', 'resnet50-'),
        ('mmcls://mobilenet_v2', 'mobilenet_v2_batch256_imagenet'),
        ('open-mmlab://resnet50_v1c', 'resnet50_v1c'),
        ('https://example.org/weights/mine.pth', 'mine.pth'),
    ],
)
def test_downloads_are_looked_for_under_the_name_that_they_will_have(address: str, name: str) -> None:
    backbone = dict(init_cfg=dict(type='Pretrained', checkpoint=address))
    (weights,) = find_pretrained_weights(Config(dict(model=dict(backbone=backbone))))
    assert weights.is_download
    assert weights.file.parent.name == 'checkpoints'
    assert weights.file.name.startswith(name)
    assert weights.file.suffix == '.pth'
