"""Names of the published IRN; that the values land in the right layers is what tests/parity/test_irn.py shows."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from sipe_mmseg.models.irn_checkpoint_conversion import convert_published_irn_state, is_irn, publish_irn_state


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


@pytest.fixture(scope='module')
def ours() -> dict[str, Tensor]:
    torch.manual_seed(0)
    backbone = dict(type='ResNetWithStem', depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))
    head = dict(type='IRNHead', num_classes=21)
    state = MODELS.build(dict(type='IRNSegmentor', backbone=backbone, decode_head=head)).state_dict()
    return {
        name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor + 7 for name, tensor in state.items()
    }


def test_there_and_back_is_exact(ours: dict[str, Tensor]) -> None:
    assert is_irn({'state_dict': ours}) and is_irn(ours) and not is_irn(published())
    net = publish_irn_state({'state_dict': ours, 'meta': {}})
    back = convert_published_irn_state(net)
    assert set(back) == set(ours)
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.items())
    again = publish_irn_state(back)
    assert set(again) == set(net)
    assert all(torch.equal(again[name], tensor) for name, tensor in net.items())


def test_every_name_of_the_published_network(ours: dict[str, Tensor]) -> None:
    net = publish_irn_state(ours)
    for mine, names in {
        'backbone.conv1.weight': ['resnet50.conv1.weight', 'stage1.0.weight', 'backbone.0.0.weight'],
        'backbone.bn1.bias': ['resnet50.bn1.bias', 'stage1.1.bias', 'backbone.0.1.bias'],
        'backbone.layer4.2.conv3.weight': [
            'resnet50.layer4.2.conv3.weight',
            'stage5.0.2.conv3.weight',
            'backbone.4.0.2.conv3.weight',
        ],
        'decode_head.boundary_layers.0.1.bias': ['fc_edge1.1.bias', 'edge_layers.0.1.bias'],
        'decode_head.boundary_output.bias': ['fc_edge6.bias', 'edge_layers.5.bias'],
        'decode_head.displacement_deep.0.weight': ['fc_dp6.0.weight', 'dp_layers.5.0.weight'],
        'decode_head.displacement_output.weight': ['fc_dp7.3.weight', 'dp_layers.6.3.weight'],
        'decode_head.mean_displacement': [
            'fc_dp7.4.running_mean',
            'dp_layers.6.4.running_mean',
            'mean_shift.running_mean',
        ],
    }.items():
        for name in names:
            assert net[name] is ours[mine]
    # Three names for each tensor of the encoder and for the mean, two for each other one.
    encoder = sum(name.startswith('backbone.') for name in ours)
    assert len(net) == 2 * len(ours) + encoder + 1


def test_what_has_no_place_in_the_published_network(ours: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r'decode_head\.extra has no place in the published IRN'):
        publish_irn_state({**ours, 'decode_head.extra': torch.zeros(1)})
    less = {name: tensor for name, tensor in ours.items() if 'displacement_joint' not in name}
    with pytest.raises(ValueError, match=r'nothing in the checkpoint becomes fc_dp7\.\* of the published IRN'):
        publish_irn_state(less)
    less = {name: tensor for name, tensor in ours.items() if 'layer4.2' not in name}
    with pytest.raises(ValueError, match=r'the backbone of this checkpoint is a ResNet of \(3, 4, 6, 2\) bottleneck'):
        publish_irn_state(less)
