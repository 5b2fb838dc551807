"""tools/report.py on the built-in set, its masks taken for label maps."""

import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes

TOOL = Path(__file__).parents[2] / 'tools/report.py'


@pytest.fixture(scope='module')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('home') / 'shapes'
    write_shapes(root, ShapesSettings(num_train=5, num_val=2, size=64))
    return root


@pytest.fixture
def labels(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('SHAPES_ROOT', str(shapes))
    return shutil.copytree(shapes / 'SegmentationClass', tmp_path / 'labels')


def run(*arguments: object) -> int:
    """Run the tool in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')
    return int(stop.value.code or 0)


def test_masks_score_full_marks(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'new/report.html'
    assert run(labels, '--dataset', 'shapes', '--split', 'train', '--out', out, '--max-images', 2) == 0
    text = out.read_text()
    assert '<h1>labels</h1>' in text and '<dd class="value">100.00 %</dd>' in text
    assert 'The 1 worst and the 1 best of 5 images' in text
    output = capsys.readouterr()
    assert '7/7 images' in output.err and f'{out}: 0.' in output.out
    assert os.listdir(out.parent) == ['report.html']


def test_without_masks(labels: Path, tmp_path: Path) -> None:
    options = ('--dataset', 'shapes', '--split', 'val', '--no-masks', '--title', 'My <photos>')
    assert run(labels, *options, '--out', tmp_path / 'report.html') == 0
    text = (tmp_path / 'report.html').read_text()
    assert '<h1>My &lt;photos&gt;</h1>' in text and 'No masks to score against' in text and 'Confusion' not in text


def test_mistakes_leave_no_page(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'report.html'
    arguments = (labels, '--dataset', 'shapes', '--split', 'train', '--out', out)
    (labels / 'train_0003.png').unlink()
    assert run(*arguments) == 1
    assert '1 of 5 images have no .png file: train_0003' in capsys.readouterr().err
    assert run(*arguments, '--cams') == 1
    assert '5 of 5 images have no .npz file' in capsys.readouterr().err
    assert run(*arguments, '--cams', '--cam-dir', labels) == 2
    assert run(*arguments, '--max-images', 0) == 2
    assert '--max-images: must be at least 1' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'name a folder of label maps, or a work directory with --run, or both'),
        (['labels'], 'a folder of label maps needs --dataset'),
        (['--run', 'run', '--split', 'val'], 'are for a folder of label maps, and none is named'),
    ],
)
def test_words_that_do_not_go_together(words: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert run(*words, '--out', 'report.html') == 2
    assert message in capsys.readouterr().err


def test_of_a_training_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    logs = tmp_path / 'run/20260101_000000/vis_data'
    logs.mkdir(parents=True)
    (logs / 'scalars.json').write_text('{"loss": 1.5, "lr": 0.1, "step": 10}\n{"loss": 0.5, "lr": 0.1, "step": 20}\n')
    out = tmp_path / 'report.html'
    assert run('--run', tmp_path / 'run', '--out', out, '--title', 'first try') == 0
    assert '<h1>first try</h1>' in out.read_text()
    assert run('--run', tmp_path / 'run', '--out', out) == 0
    assert '<h1>run</h1>' in out.read_text()
    assert 'open it in a browser' in capsys.readouterr().out
