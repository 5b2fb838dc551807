"""The ResNet that returns its pooled stem, too."""

import pytest
import torch
from mmseg.registry import MODELS

SETTINGS = dict(depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))


@pytest.mark.parametrize('deep_stem', [False, True])
@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, 3)])
def test_is_mmsegs_resnet_with_one_more_map(deep_stem: bool, out_indices: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    settings = dict(SETTINGS, deep_stem=deep_stem, out_indices=out_indices)
    plain = MODELS.build(dict(type='ResNet', **settings))
    ours = MODELS.build(dict(type='ResNetWithStem', **settings))
    ours.load_state_dict(plain.state_dict())
    for model in (plain, ours):
        model.eval()
    pooled: list[torch.Tensor] = []
    plain.maxpool.register_forward_hook(lambda module, inputs, output: pooled.append(output))
    images = torch.randn(2, 3, 70, 45)
    with torch.no_grad():
        expected, found = plain(images), ours(images)
    assert found[0].shape[-2:] == (18, 12)  # stride 4, rounded up
    torch.testing.assert_close(found, (pooled[0], *expected))
