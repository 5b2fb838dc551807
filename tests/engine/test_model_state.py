"""A model's own modes and frozen parameters after an evaluation, and what is inside a wrapper."""

import pytest
from mmengine.model import MMDistributedDataParallel
from mmseg.registry import MODELS
from torch import nn

from sipe_mmseg.engine.model_state import evaluating, unwrapped


def state(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()] + [each.requires_grad for each in model.parameters()]


@pytest.mark.parametrize('frozen_stages', [-1, 2])
def test_every_mode_is_what_it_was(frozen_stages: int) -> None:
    model = MODELS.build(dict(type='ResNet', depth=18, frozen_stages=frozen_stages, norm_eval=True))
    model.train()
    model.layer3.eval()
    before = state(model)
    assert True in before and False in before
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert state(model) == before
    with pytest.raises(RuntimeError, match='broken'), evaluating(model):
        raise RuntimeError('broken')
    assert state(model) == before


def test_the_model_inside_its_wrapper() -> None:
    model = nn.Linear(1, 1)
    wrapper = object.__new__(MMDistributedDataParallel)  # its __init__ wants a process group
    nn.Module.__init__(wrapper)
    wrapper.module = model
    assert unwrapped(wrapper) is model
    assert unwrapped(model) is model
