"""tools/mmseg_tool.py, and what docs/troubles.md says about MMSegmentation's own tools."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, check=False)


def test_runs_a_tool_of_mmseg(tmp_path: Path) -> None:
    # It writes example.py where it is started.
    done = run(str(ROOT / 'tools/mmseg_tool.py'), 'misc/print_config.py', str(ROOT / CONFIG), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "type='SIPEHead'" in done.stdout


def test_no_tool_and_one_that_is_not_there() -> None:
    done = run('tools/mmseg_tool.py')
    assert done.returncode == 1
    assert 'misc/print_config.py' in done.stderr
    done = run('tools/mmseg_tool.py', 'misc/fly.py')
    assert done.returncode == 1
    assert done.stderr.startswith('MMSegmentation') and 'comes without tools/misc/fly.py' in done.stderr


def test_the_page_counts_operations() -> None:
    page = (ROOT / 'docs/troubles.md').read_text()
    (snippet,) = re.findall(r'```python\n(.*?)```', page, flags=re.DOTALL)
    done = run('-c', snippet)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ['0.42G', '2.911M']
    assert '0.42 G, and 2.911 M parameters' in page


@pytest.mark.parametrize(
    'config', [CONFIG, 'configs/deeplabv3plus/deeplabv3plus_r18_1xb16-400i_shapespseudo-160x160.py']
)
def test_browse_dataset_draws_what_our_configs_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    write_shapes(tmp_path / 'shapes', ShapesSettings(num_train=2, num_val=1, size=64))
    monkeypatch.setenv('SHAPES_ROOT', str(tmp_path / 'shapes'))
    monkeypatch.setenv('PSEUDO_LABELS', str(tmp_path / 'shapes' / 'SegmentationClass'))
    arguments = [str(ROOT / config), '--output-dir', str(tmp_path / 'out'), '--not-show']
    monkeypatch.setattr('sys.argv', [])  # which the tool changes
    run_mmseg_tool('analysis_tools/browse_dataset.py', arguments)
    written = sorted((tmp_path / 'out').iterdir())
    assert [path.name for path in written] == ['train_0000.jpg', 'train_0001.jpg']
    # A SIPE config crops to 160 x 160 and has labels, for which there is room below; the other crops what is there.
    sizes = [Image.open(path).size for path in written]
    assert all(height > width > 160 for width, height in sizes) == (config == CONFIG)
