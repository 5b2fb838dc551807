"""The model is folded while it is tested, with the same results, and comes back as it was."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sipe_mmseg.engine import FoldBatchNormHook


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize('wrap', [lambda model: model, nn.DataParallel])
def test_folded_between_before_and_after(wrap):
    model = network()
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 3, 9, 7)
    expected = model(images)
    runner, hook = SimpleNamespace(model=wrap(model)), FoldBatchNormHook()

    hook.before_test(runner)
    assert not [layer for layer in runner.model.modules() if isinstance(layer, nn.BatchNorm2d)]
    folded = runner.model if runner.model is not model and not hasattr(runner.model, 'module') else runner.model.module
    torch.testing.assert_close(folded(images), expected, rtol=1e-5, atol=1e-5)

    hook.after_test(runner)
    assert (runner.model.module if hasattr(runner.model, 'module') else runner.model) is model
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert before.keys() == model.state_dict().keys()


def test_not_enabled_leaves_the_model_as_it_is() -> None:
    model = network()
    runner, hook = SimpleNamespace(model=model), FoldBatchNormHook(enabled=False)
    hook.before_test(runner)
    assert runner.model is model
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    hook.after_test(runner)
    assert runner.model is model
