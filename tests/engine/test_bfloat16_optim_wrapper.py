"""The forward pass computes in bfloat16, the weights learn in float32."""

import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import sipe_mmseg.engine  # noqa: F401


def test_forward_in_bfloat16_and_weights_in_float32():
    model = nn.Conv2d(3, 4, 1)
    before = model.weight.detach().clone()
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='Bfloat16OptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    )
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 3, 2, 2))
    assert output.dtype == torch.bfloat16
    assert model(torch.ones(1, 3, 2, 2)).dtype == torch.float32
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model.weight, before - 0.1 * 4)
