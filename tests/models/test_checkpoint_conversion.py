"""The published names, in the several forms in which they are found."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from sipe_mmseg.models.checkpoint_conversion import convert_published_state

State = dict[str, Tensor]


@pytest.fixture(scope='module')
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='SIPESegmentor',
            backbone=dict(type='ResNet', depth=18, base_channels=8, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1)),
            decode_head=dict(type='SIPEHead', in_channels=[8, 16, 32, 64], side_channels=[4] * 4, num_classes=4),
        )
    )


@pytest.fixture
def bare(model: torch.nn.Module) -> State:
    """Torchvision's names for the encoder, the published ones for the head."""
    state: State = {}
    for name, tensor in model.state_dict().items():
        part, rest = name.split('.', 1)
        if part == 'backbone':
            state[rest] = tensor
        elif rest.startswith('side_projections.'):
            state[f'side{int(rest.split(".")[1]) + 1}.weight'] = tensor
        else:
            state[rest] = tensor
    return state


@pytest.fixture
def published(bare: State) -> State:
    """Every tensor under the names of all the modules that hold it."""
    state: State = {}
    stages = {'conv1': 'stage0.0', 'bn1': 'stage0.1', **{f'layer{i}': f'stage{i}.0' for i in range(1, 5)}}
    for name, tensor in bare.items():
        head = name.startswith(('side', 'classifier'))
        if head:
            state[name] = tensor
            position = 4 if name == 'classifier.weight' else int(name[4]) - 1
            state[f'newly_added.{position}.weight'] = tensor
        else:
            first, rest = name.split('.', 1)
            state[f'resnet50.{name}'] = tensor
            state[f'{stages[first]}.{rest}'] = tensor
            state[f'backbone.0.{name}'] = tensor
    state['resnet50.fc.weight'] = torch.zeros(1000, 64)
    state['resnet50.fc.bias'] = torch.zeros(1000)
    return state


def equal(found: State, model: torch.nn.Module) -> None:
    expected = model.state_dict()
    assert set(found) == set(expected)
    assert all(found[name] is tensor or torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize('wrapped', [True, False], ids=['net', 'state'])
@pytest.mark.parametrize('prefix', ['', 'module.'], ids=['plain', 'DataParallel'])
def test_published_checkpoint(published: State, model: torch.nn.Module, wrapped: bool, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in published.items()}
    found = convert_published_state({'net': state} if wrapped else state)
    equal(found, model)
    model.load_state_dict(found, strict=True)


def test_torchvisions_names_for_the_encoder(bare: State, model: torch.nn.Module) -> None:
    equal(convert_published_state(bare), model)
    equal(convert_published_state({**bare, 'fc.weight': torch.zeros(2), 'fc.bias': torch.zeros(2)}), model)


def test_aliases_are_not_read(published: State, model: torch.nn.Module) -> None:
    for name in published:
        if name.startswith(('stage', 'newly_added', 'backbone')):
            published[name] = torch.full((1,), float('nan'))
    equal(convert_published_state(published), model)


def test_the_callers_checkpoint_is_left_alone(published: State) -> None:
    names = list(published)
    convert_published_state({'net': published})
    assert list(published) == names


@pytest.mark.parametrize(
    'name', ['decode_head.conv_seg.weight', 'classifier.bias', 'sideways.weight', 'side1.bias', 'head.weight']
)
def test_unknown_names(published: State, name: str) -> None:
    published[name] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=rf"1 tensors have names of no published SIPE checkpoint, the first is '{name}': expected"
    ):
        convert_published_state({'net': published})


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        (('resnet50',), r'nothing in it becomes backbone\.conv1\.\*'),
        (('side',), r'nothing in it becomes decode_head\.side_projections\.0\.\*'),
        (('side3',), r'nothing in it becomes decode_head\.side_projections\.2\.\*'),
        (('resnet50.layer2',), r'nothing in it becomes backbone\.layer2\.\*'),
        (('classifier',), r'nothing in it becomes decode_head\.classifier\.\*'),
    ],
)
def test_missing_parts(published: State, part: tuple, message: str) -> None:
    state = {name: tensor for name, tensor in published.items() if not name.startswith(part)}
    with pytest.raises(ValueError, match=message):
        convert_published_state({'net': state})


def test_checkpoint_of_another_model() -> None:
    with pytest.raises(ValueError, match='names of no published SIPE checkpoint'):
        convert_published_state({'state_dict': {}, 'meta': {}})
    with pytest.raises(ValueError, match=r'no published SIPE checkpoint: .* \(0 tensors read\)'):
        convert_published_state({})
