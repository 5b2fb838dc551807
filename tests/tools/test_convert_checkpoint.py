"""The command line that turns a published checkpoint into one of ours."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

LAYERS = tuple(f'layer{index}.0.conv1.weight' for index in range(1, 5))
TOOL = Path(__file__).parents[2] / 'tools' / 'convert_checkpoint.py'


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path | str) -> int:
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name='__main__')
    return int(stop.value.code or 0)


def published(path: Path) -> dict[str, torch.Tensor]:
    ours = {f'backbone.{name}': torch.randn(3) for name in ('conv1.weight', 'bn1.bias', *LAYERS)}
    net = {f'module.resnet50.{name.removeprefix("backbone.")}': tensor for name, tensor in ours.items()}
    for index in range(4):
        net[f'module.side{index + 1}.weight'] = ours[f'decode_head.side_projections.{index}.weight'] = torch.randn(2)
    net['module.classifier.weight'] = ours['decode_head.classifier.weight'] = torch.randn(20)
    repeated = {
        'module.stage1.0.weight': ours['backbone.conv1.weight'],
        'module.backbone.0.weight': ours['backbone.conv1.weight'],
        'module.newly_added.0.weight': ours['decode_head.classifier.weight'],
        'module.resnet50.fc.weight': torch.zeros(1),
    }
    torch.save({'net': net | repeated}, path)
    return ours


def test_writes_our_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = published(tmp_path / 'published.pth')
    output = tmp_path / 'new' / 'ours.pth'
    assert run(monkeypatch, tmp_path / 'published.pth', output) == 0
    checkpoint = torch.load(output, weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes'][20] == 'tvmonitor'
    found = checkpoint['state_dict']
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [path.name for path in output.parent.iterdir()] == ['ours.pth']


def test_knows_the_published_irn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    layers = [f'{branch}{index}.0.weight' for branch in ('fc_edge', 'fc_dp') for index in range(1, 6)]
    layers += ['fc_edge6.weight', 'fc_dp6.0.weight', 'fc_dp7.0.weight', 'fc_dp7.3.weight', 'fc_dp7.4.running_mean']
    layers.append('resnet50.conv1.weight')
    net = {f'module.{name}': torch.full((1,), float(index)) for index, name in enumerate(layers)}
    torch.save(net, tmp_path / 'published.pth')
    assert run(monkeypatch, tmp_path / 'published.pth', tmp_path / 'ours.pth') == 0
    found = torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
    assert found['decode_head.boundary_layers.2.0.weight'] == layers.index('fc_edge3.0.weight')
    assert found['decode_head.mean_displacement'] == layers.index('fc_dp7.4.running_mean')
    assert len(found) == len(layers)
    torch.save({'module.fc_edge1.0.weight': torch.zeros(1)}, tmp_path / 'cut.pth')
    assert run(monkeypatch, tmp_path / 'cut.pth', tmp_path / 'cut_ours.pth') == 1
    assert 'cut.pth: no published IRN checkpoint' in capsys.readouterr().err


def test_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    published(tmp_path / 'published.pth')
    (tmp_path / 'mine.pth').write_text('precious')
    assert run(monkeypatch, tmp_path / 'published.pth', tmp_path / 'mine.pth') == 2
    assert 'mine.pth exists already' in capsys.readouterr().err
    assert (tmp_path / 'mine.pth').read_text() == 'precious'


def test_says_what_is_no_published_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    torch.save({'encoder.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    assert run(monkeypatch, tmp_path / 'other.pth', tmp_path / 'ours.pth') == 1
    message = capsys.readouterr().err
    assert 'other.pth' in message and "'encoder.weight'" in message
    assert not (tmp_path / 'ours.pth').exists()


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_runs_nothing_of_a_hostile_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    torch.save({'net': _Hostile(tmp_path / 'was_here')}, tmp_path / 'hostile.pth')
    assert run(monkeypatch, tmp_path / 'hostile.pth', tmp_path / 'ours.pth') == 1
    assert 'refused' in capsys.readouterr().err
    assert not (tmp_path / 'was_here').exists()
    assert not (tmp_path / 'ours.pth').exists()


def test_to_published_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    models = {
        'sipe': ('SIPESegmentor', 'ResNet', dict(type='SIPEHead', in_channels=[256, 512, 1024, 2048], num_classes=81)),
        'irn': ('IRNSegmentor', 'ResNetWithStem', dict(type='IRNHead', num_classes=21)),
    }
    for name, (segmentor, backbone, head) in models.items():
        ours = MODELS.build(dict(type=segmentor, backbone=dict(type=backbone, depth=50), decode_head=head)).state_dict()
        torch.save({'state_dict': ours, 'meta': {}}, tmp_path / f'{name}.pth')
        assert run(monkeypatch, '--to-published', tmp_path / f'{name}.pth', tmp_path / f'{name}_published.pth') == 0
        net = torch.load(tmp_path / f'{name}_published.pth', weights_only=True)
        assert 'resnet50.conv1.weight' in (net['net'] if name == 'sipe' else net)
        # The names share their tensors' memory.
        ratio = (tmp_path / f'{name}_published.pth').stat().st_size / (tmp_path / f'{name}.pth').stat().st_size
        assert ratio < 1.02
        assert run(monkeypatch, tmp_path / f'{name}_published.pth', tmp_path / f'{name}_back.pth') == 0
        back = torch.load(tmp_path / f'{name}_back.pth', weights_only=True)['state_dict']
        assert set(back) == set(ours)
        assert all(torch.equal(back[key], tensor) for key, tensor in ours.items())
    assert run(monkeypatch, '--to-published', tmp_path / 'sipe_published.pth', tmp_path / 'again.pth') == 1
    assert 'sipe_published.pth: no checkpoint of this package' in capsys.readouterr().err
    assert not (tmp_path / 'again.pth').exists()
