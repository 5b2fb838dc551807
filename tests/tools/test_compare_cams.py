"""Other methods' maps beside ours from the command line, on a small built-in set and a network of random weights."""

import importlib.util
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes

needs_package = pytest.mark.skipif(importlib.util.find_spec('pytorch_grad_cam') is None, reason='needs grad-cam')
REPOSITORY = Path(__file__).parents[2]
TOOL = REPOSITORY / 'tools' / 'compare_cams.py'
CONFIG = f"""
_base_ = '{REPOSITORY}/configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
model = dict(decode_head=dict(side_channels=[8, 8, 16, 16]))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=1, num_val=3, size=64))
    (home / 'config.py').write_text(CONFIG)
    torch.manual_seed(0)
    torch.save(MODELS.build(Config.fromfile(home / 'config.py').model).state_dict(), home / 'one.pth')
    return home


@pytest.fixture(autouse=True)
def surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')
    return int(stop.value.code or 0)


@needs_package
def test_draws_and_scores(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    methods = ['GradCAM', 'LayerCAM']
    words = (home / 'config.py', home / 'one.pth', '--methods', *methods, '--out', tmp_path / 'out')
    assert run(*words, '--all', '--json', tmp_path / 'scores.json') == 0
    printed = capsys.readouterr()
    assert 'pictures of 3 images' in printed.out and 'picked on the ground truth' in printed.out
    assert '3/3 images' in printed.err
    pictures = sorted((tmp_path / 'out').iterdir())
    assert [path.name for path in pictures] == ['val_0000.png', 'val_0001.png', 'val_0002.png']
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert list(scores) == ['CAM', 'IS-CAM', *methods]
    assert scores['IS-CAM']['threshold'] is None
    for name, score in scores.items():
        assert 0 < score['miou'] < 100 and f'| {name}' in printed.out and f'{score["miou"]:.2f}' in printed.out
    # Six tiles in a row: image, CAM, IS-CAM, two methods, ground truth.
    width = Image.open(pictures[0]).width
    assert run(*words[:2], '--methods', 'GradCAM', '--out', tmp_path / 'less', '--ids', 'val_0000') == 0
    tile = width - Image.open(tmp_path / 'less' / 'val_0000.png').width
    assert width == 6 * tile + 8
    assert [path.name for path in (tmp_path / 'less').iterdir()] == ['val_0000.png']


@needs_package
def test_without_masks(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{home}/config.py'\n"
        "test_dataloader = dict(dataset=dict(data_prefix=dict(_delete_=True, img_path='JPEGImages')))\n"
    )
    words = (tmp_path / 'config.py', home / 'one.pth', '--methods', 'EigenCAM', '--out', tmp_path / 'out', '--num', 1)
    assert run(*words) == 0
    assert 'mIoU' not in capsys.readouterr().out
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['val_0000.png']


@needs_package
def test_wrong_input_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = (home / 'config.py', home / 'one.pth', '--out', tmp_path / 'out', '--methods')
    assert run(*words, 'GradKAM') == 1
    assert "has no method 'GradKAM'; it has AblationCAM" in capsys.readouterr().err
    assert run(*words, 'GradCAM', '--ids', 'fly') == 1
    assert 'no image fly among the 3 of the data set' in capsys.readouterr().err
    assert run(home / 'config.py', home / 'fly.pth', *words[2:], 'GradCAM') == 1
    assert 'fly.pth' in capsys.readouterr().err
    assert run(*words, 'GradCAM', '--num', 0) == 2
    assert not (tmp_path / 'out').exists()


def test_without_the_package(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    assert run(home / 'config.py', home / 'one.pth', '--methods', 'GradCAM', '--out', tmp_path / 'out') == 1
    assert "the extra 'gradcam': pip install grad-cam" in capsys.readouterr().err
