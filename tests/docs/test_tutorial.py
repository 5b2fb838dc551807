"""The commands of docs/tutorial.md, run in their order in a new folder, and what the page promises of them.

Two changes: the installation is that of the tests, and the fast test takes the small numbers that the page names.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.cam_files import read_cam

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs/tutorial.md'
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
INSTALLATION = 'python3 -m venv .venv\n. .venv/bin/activate\npip install -e ".[lite]"\n'
NUMBERS = re.compile(r'^(PICTURES=\d+ VAL=\d+ EPOCHS=\d+) +# (PICTURES=\d+ VAL=\d+ EPOCHS=\d+) ', re.MULTILINE)


def script(fast: bool) -> str:
    """All of the page as one script: shell blocks as they stand; Python blocks that name their file are that file."""
    text = PAGE.read_text()
    numbers = NUMBERS.search(text)
    assert numbers, 'the page no longer names the numbers of pictures and epochs, and smaller ones'
    parts = ['set -euo pipefail']
    for language, block in BLOCK.findall(text):
        if language == 'shell' and block != INSTALLATION:
            parts.append(block.replace(numbers[1], numbers[2]) if fast else block)
        elif language == 'python' and block.startswith('# my/'):
            name = block.splitlines()[0].removeprefix('# ')
            parts.append(f"cat > {name} <<'END_OF_FILE'\n{block}END_OF_FILE")
    return '\n'.join(parts)


def run_page(home: Path, fast: bool) -> subprocess.CompletedProcess[str]:
    """Run the page in a folder that has of the repository what a reader uses."""
    for name in ('configs', 'tools'):
        (home / name).symlink_to(REPOSITORY / name)
    environment = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        'PYTHONPATH': os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')])),
        'CUDA_VISIBLE_DEVICES': '',
    }
    return subprocess.run(
        ['bash', '-c', script(fast)], cwd=home, env=environment, capture_output=True, text=True, check=False
    )


def check_promises(home: Path, done: subprocess.CompletedProcess[str], pictures: int, val: int) -> dict[str, float]:
    """Every file and output that the page speaks of; returns the figures."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for language, block in BLOCK.findall(PAGE.read_text()):
        if language == 'text' and block.startswith('image,labels'):
            assert block in done.stdout
    work = home / 'work_dirs'
    assert list((work / 'pictures').glob('epoch_*.pth'))
    assert Image.open(work / 'pictures/curves.png').size > (300, 200)
    for split, number in (('train', pictures), ('val', val)):
        labels, cams = sorted((work / f'labels/{split}').glob('*.png')), sorted((work / f'cams/{split}').glob('*.npz'))
        images = sorted((home / f'data/pictures/images/{split}').glob('*.jpg'))
        assert len(images) == number
        assert [path.stem for path in labels] == [path.stem for path in cams] == [path.stem for path in images]
        cam, label = read_cam(cams[0], 4), Image.open(labels[0])
        assert (label.mode, label.size[::-1]) == ('P', cam.size)
        assert set(np.unique(label)) <= {0, *cam.classes}
    scored, bare = (work / f'report_{split}.html' for split in ('val', 'train'))
    assert scored.read_text().count('<img') >= val and 'Confusion' in scored.read_text()
    assert 'No masks to score against' in bare.read_text()
    assert sorted(path.name for path in (work / 'maps').iterdir()) == ['pred', 'vis']
    assert len(list((work / 'maps/vis').iterdir())) == len(list((work / 'maps/pred').iterdir())) == val
    assert 'data/pictures/images/val/val_0000.jpg shows' in done.stdout
    figures = json.loads((work / 'scores.json').read_text())
    assert 0 <= figures['mIoU'] <= 100
    return figures


def test_fast(tmp_path: Path) -> None:
    """With the numbers that the page has for a look at all steps."""
    check_promises(tmp_path, run_page(tmp_path, fast=True), pictures=32, val=4)


@pytest.mark.slow
def test_as_it_stands(tmp_path: Path) -> None:
    figures = check_promises(tmp_path, run_page(tmp_path, fast=False), pictures=400, val=60)
    assert 65 < figures['mIoU'] < 95, 'the page says about 80'
