"""Weights and maps are channels-last, results are the same."""

from types import SimpleNamespace

import torch
from torch import nn

from sipe_mmseg.engine import ChannelsLastHook


def test_maps_follow_the_weights_and_results_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    images = torch.rand(2, 3, 9, 7)
    expected = model(images)
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    result = model(images)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert not result.is_contiguous()
    torch.testing.assert_close(result, expected)
