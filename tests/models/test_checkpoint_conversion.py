"""The published names, in the several forms in which they are found."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torchvision.models import resnet50

from sipe_mmseg.models.checkpoint_conversion import convert_published_state, publish_state

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


class PublishedNet(nn.Module):
    """The modules of the published network, each tensor registered as often as there; no forward."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.resnet50 = encoder = resnet50()
        del encoder.fc
        self.stage0 = nn.Sequential(encoder.conv1, encoder.bn1)
        for stage in range(1, 5):
            setattr(self, f'stage{stage}', nn.Sequential(getattr(encoder, f'layer{stage}')))
        for index, (channels, width) in enumerate(((256, 128), (512, 128), (1024, 256), (2048, 256)), start=1):
            setattr(self, f'side{index}', nn.Conv2d(channels, width, 1, bias=False))
        self.classifier = nn.Conv2d(2048, num_classes - 1, 1, bias=False)
        self.backbone = nn.ModuleList(getattr(self, f'stage{stage}') for stage in range(5))
        self.newly_added = nn.ModuleList([self.classifier, self.side1, self.side2, self.side3, self.side4])


def build_ours(**backbone: object) -> nn.Module:
    settings = dict(type='ResNet', depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1)) | backbone
    wide = settings['depth'] != 18
    channels = [256, 512, 1024, 2048] if wide else [64, 128, 256, 512]
    return MODELS.build(
        dict(
            type='SIPESegmentor',
            backbone=settings,
            decode_head=dict(type='SIPEHead', in_channels=channels, num_classes=21),
        )
    )


@pytest.fixture(scope='module')
def ours() -> State:
    torch.manual_seed(1)
    state = build_ours().state_dict()
    return {
        name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor + 7 for name, tensor in state.items()
    }


def test_the_published_network_loads_ours_strictly(ours: State) -> None:
    checkpoint = publish_state({'meta': {}, 'state_dict': ours})
    net = PublishedNet(num_classes=21)
    net.load_state_dict(checkpoint['net'], strict=True)
    loaded = net.state_dict()
    assert torch.equal(loaded['newly_added.2.weight'], ours['decode_head.side_projections.1.weight'])
    assert torch.equal(loaded['stage3.0.5.bn2.running_var'], ours['backbone.layer3.5.bn2.running_var'])
    assert torch.equal(loaded['backbone.0.1.num_batches_tracked'], ours['backbone.bn1.num_batches_tracked'])


def test_there_and_back_is_exact(ours: State) -> None:
    back = convert_published_state(publish_state(ours))
    assert set(back) == set(ours)
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.items())


def test_back_and_there_is_exact() -> None:
    torch.manual_seed(2)
    state = PublishedNet(num_classes=81).state_dict()
    again = publish_state(convert_published_state({'net': state}))['net']
    assert set(again) == set(state)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_batch_norms_without_counters_stay_so(ours: State) -> None:
    plain = {name: tensor for name, tensor in ours.items() if not name.endswith('num_batches_tracked')}
    net = publish_state(plain)['net']
    assert convert_published_state(net).keys() == plain.keys()
    PublishedNet(num_classes=21).load_state_dict(net, strict=True)


@pytest.mark.parametrize(
    ('backbone', 'found'),
    [
        (dict(depth=101), r'a ResNet of \(3, 4, 23, 3\) bottleneck blocks with 64 channels in its stem'),
        (dict(depth=18), r'a ResNet of \(2, 2, 2, 2\) basic blocks with 64 channels in its stem'),
        (dict(deep_stem=True), r'no plain ResNet: it has backbone\.stem\.0\.weight'),
        (dict(avg_down=True), r'no plain ResNet: it has backbone\.'),
    ],
    ids=['R101', 'R18', 'V1c', 'V1d'],
)
def test_another_backbone_has_no_place_there(backbone: dict, found: str) -> None:
    with torch.device('meta'):
        state = build_ours(**backbone).state_dict()
    message = r'have a ResNet of \(3, 4, 6, 3\) bottleneck blocks .*; the backbone of this checkpoint is ' + found
    with pytest.raises(ValueError, match=message):
        publish_state(state)


def test_another_head_has_no_place_there(ours: State) -> None:
    name = 'decode_head.side_projections.2.weight'
    with pytest.raises(
        ValueError, match=r'side3\.weight has the shape \(256, 1024, 1, 1\), but .*2\.weight has \(9, 9\)'
    ):
        publish_state({**ours, name: torch.zeros(9, 9)})
    with pytest.raises(ValueError, match=r'side_projections\.2\.weight is missing'):
        publish_state({key: tensor for key, tensor in ours.items() if key != name})
    with pytest.raises(ValueError, match=r'neck\.weight has no place in the published network \(1 such tensors\)'):
        publish_state({**ours, 'neck.weight': torch.zeros(1)})


def test_what_is_no_checkpoint_of_ours() -> None:
    with pytest.raises(ValueError, match=r'missing: none of its 0 tensors is called backbone\.\*'):
        publish_state({})
    with pytest.raises(ValueError, match='no checkpoint of this package'):
        publish_state({'net': {}})
