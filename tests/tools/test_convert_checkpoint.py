"""The command line that turns a published checkpoint into one of ours."""

import pickle
import runpy
import sys
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools' / 'convert_checkpoint.py'


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> int:
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name='__main__')
    return int(stop.value.code or 0)


def published(path: Path) -> dict[str, torch.Tensor]:
    conv1, side, classifier = torch.randn(2, 3, 1, 1), torch.randn(2, 2, 1, 1), torch.randn(4, 2, 1, 1)
    net = {
        'module.resnet50.conv1.weight': conv1,
        'module.stage1.0.weight': conv1,
        'module.backbone.0.weight': conv1,
        'module.side2.weight': side,
        'module.newly_added.0.weight': side,
        'module.classifier.weight': classifier,
        'module.resnet50.fc.weight': torch.zeros(1),
    }
    torch.save({'net': net}, path)
    return {
        'backbone.conv1.weight': conv1,
        'decode_head.side_projections.1.weight': side,
        'decode_head.classifier.weight': classifier,
    }


def test_writes_our_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = published(tmp_path / 'published.pth')
    output = tmp_path / 'new' / 'ours.pth'
    assert run(monkeypatch, tmp_path / 'published.pth', output) == 0
    found = torch.load(output, weights_only=True)['state_dict']
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [path.name for path in output.parent.iterdir()] == ['ours.pth']


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


def test_runs_nothing_of_a_hostile_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({'net': _Hostile(tmp_path / 'was_here')}, tmp_path / 'hostile.pth')
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(tmp_path / 'hostile.pth'), str(tmp_path / 'ours.pth')])
    with pytest.raises(pickle.UnpicklingError, match='refused'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert not (tmp_path / 'was_here').exists()
    assert not (tmp_path / 'ours.pth').exists()
