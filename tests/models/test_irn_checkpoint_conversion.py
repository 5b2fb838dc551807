"""Names of the published IRN; that the values land in the right layers is what tests/parity/test_irn.py shows."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from sipe_mmseg.models.irn_checkpoint_conversion import convert_published_irn_state


def published() -> dict[str, Tensor]:
    names = ['conv1.weight', 'layer4.2.bn3.running_var', 'fc.weight']
    names = [f'resnet50.{name}' for name in names] + ['stage1.0.weight', 'backbone.0.weight', 'mean_shift.running_mean']
    for branch, count in (('fc_edge', 5), ('fc_dp', 6)):
        names += [f'{branch}{i}.{leaf}' for i in range(1, count + 1) for leaf in ('0.weight', '1.weight', '1.bias')]
    names += ['fc_edge6.weight', 'fc_edge6.bias']
    names += [f'fc_dp7.{leaf}' for leaf in ('0.weight', '1.weight', '1.bias', '3.weight', '4.running_mean')]
    return {name: torch.full((1,), float(index)) for index, name in enumerate(names)}


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_every_layer_of_the_head_gets_a_tensor_of_its_own(prefix: str) -> None:
    state = published()
    found = convert_published_irn_state({prefix + name: tensor for name, tensor in state.items()})
    head = MODELS.build(dict(type='IRNHead', num_classes=21))
    wanted = {f'decode_head.{name}' for name in head.state_dict()}
    assert set(found) == wanted | {'backbone.conv1.weight', 'backbone.layer4.2.bn3.running_var'}
    assert found['decode_head.boundary_layers.2.1.bias'] is state['fc_edge3.1.bias']
    assert found['decode_head.displacement_joint.0.weight'] is state['fc_dp7.0.weight']
    assert found['decode_head.displacement_output.weight'] is state['fc_dp7.3.weight']
    assert found['decode_head.mean_displacement'] is state['fc_dp7.4.running_mean']


def test_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'classifier\.weight' is the name of no tensor of the published IRN"):
        convert_published_irn_state(published() | {'classifier.weight': torch.zeros(1)})


def test_a_missing_layer() -> None:
    state = {name: tensor for name, tensor in published().items() if not name.startswith('fc_dp6.')}
    with pytest.raises(ValueError, match=r'nothing in it becomes decode_head\.displacement_deep\.\*'):
        convert_published_irn_state(state)
