"""``sipe-mmseg shapes`` and ``sipe-mmseg overlays``: a small set, and what random weights find in its pictures."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from sipe_mmseg.visualization import draw_gallery
from sipe_mmseg_cli.main import main

CONFIG = Path(__file__).parents[2] / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Path:
    """A set of two pictures to learn from and three to test with, a config and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('SHAPES_ROOT', 'shapes')
    words = ['shapes', 'shapes', '--num-train', '2', '--num-val', '3', '--size', '64']
    assert main(words) == 0
    assert capfd.readouterr().out == '5 of 5 pictures\nshapes: written\n'
    assert main(words) == 0
    assert capfd.readouterr().out == 'shapes: was complete already\n'
    Path('tiny.py').write_text(f"_base_ = '{CONFIG}'\nmodel = dict(decode_head=dict(side_channels=[8, 8, 16, 16]))\n")
    torch.save(MODELS.build(Config.fromfile('tiny.py').model).state_dict(), 'tiny.pth')
    return tmp_path


def test_panels_and_one_picture_of_all(home: Path, capfd: pytest.CaptureFixture) -> None:
    words = ['overlays', 'tiny.py', 'tiny.pth', '--out', 'drawn', '--device', 'cpu']
    assert main([*words, '--num', '2', '--gallery', 'gallery.png']) == 0
    printed = capfd.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith('drawn/')] == ['drawn/val_0000.png', 'drawn/val_0001.png']
    with Image.open('drawn/val_0000.png') as panel, Image.open('gallery.png') as gallery:
        assert panel.mode == 'RGB' and gallery.mode == 'P'
        assert gallery.height > 2 * 64
        row = panel.crop((0, panel.height - 64, 64, panel.height))
    assert len(row.getcolors(64 * 64) or []) > 10, 'no picture is drawn'

    assert main([*words, '--ids', 'val_0002']) == 0
    assert sorted(path.name for path in Path('drawn').iterdir()) == ['val_0000.png', 'val_0001.png', 'val_0002.png']


def test_a_config_without_scales(home: Path) -> None:
    config = Config.fromfile('tiny.py')
    config.pop('tta_model')
    with pytest.raises(ValueError, match=r'tiny\.py: panels show multi-scale maps; the config has no tta_model or'):
        next(draw_gallery(config, 'tiny.pth', 'drawn'))
    assert not Path('drawn').exists()
