"""Losses of MMSegmentation average over known pixels."""

from types import SimpleNamespace

import pytest
from mmseg.registry import HOOKS, MODELS
from torch import nn


def test_every_loss_that_can_leaves_unknown_pixels_out_of_the_average() -> None:
    losses = [MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=False)) for _ in range(2)]
    model = nn.ModuleList([*losses, nn.Conv2d(1, 1, 1)])
    HOOKS.build(dict(type='AvgNonIgnoreHook')).before_train(SimpleNamespace(model=model))
    assert [loss.avg_non_ignore for loss in losses] == [True, True]
    assert not hasattr(model[2], 'avg_non_ignore')


def test_a_model_without_such_a_loss() -> None:
    runner = SimpleNamespace(model=nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match='no loss of the model has avg_non_ignore; leave the hook out'):
        HOOKS.build(dict(type='AvgNonIgnoreHook')).before_train(runner)
