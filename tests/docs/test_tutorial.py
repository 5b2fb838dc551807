"""The commands of docs/tutorial.md, run in their order in a new folder, and what the page promises of them.

Two changes: the installation is that of the tests, and the fast test takes the small numbers that the page names.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from sipe_mmseg.datasets.cam_files import read_cam

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs/tutorial.md'
INSTALLATION = 'python3 -m venv .venv\n. .venv/bin/activate\npip install -e ".[lite]"\n'
NUMBERS = re.compile(r'^(PICTURES=\d+ VAL=\d+ EPOCHS=\d+) +# (PICTURES=\d+ VAL=\d+ EPOCHS=\d+) ', re.MULTILINE)


def script(blocks: list[Any], fast: bool) -> str:
    """All of the page as one script: shell blocks as they stand; Python blocks that name their file are that file."""
    numbers = NUMBERS.search(PAGE.read_text())
    assert numbers, 'the page no longer names the numbers of pictures and epochs, and smaller ones'
    parts = []
    for block in blocks:
        if block.language == 'shell' and block.text != INSTALLATION:
            parts.append(block.text.replace(numbers[1], numbers[2]) if fast else block.text)
        elif block.file:
            parts.append(f"cat > {block.file} <<'END_OF_FILE'\n{block.text}END_OF_FILE")
    assert INSTALLATION in [block.text for block in blocks], 'the installation is no longer the one that is left out'
    return '\n'.join(parts)


def check_promises(home: Path, blocks: list[Any], output: str, pictures: int, val: int) -> dict[str, float]:
    """Every file and output that the page speaks of; returns the figures."""
    (rows,) = [block.text for block in blocks if block.language == 'text' and block.text.startswith('image,labels')]
    assert rows in output
    work = home / 'work_dirs'
    assert list((work / 'pictures').glob('epoch_*.pth'))
    assert Image.open(work / 'pictures/curves.png').size > (300, 200)
    drawn = list(work.glob('pictures/*/vis_data/vis_image/maps_*_0.png'))
    assert len(drawn) == 4
    run = (work / 'report_run.html').read_text()
    assert run.count('after 0 iterations</figcaption>') == 4
    assert 'no problems' in output
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
    assert 'data/pictures/images/val/val_0000.jpg shows' in output
    figures = json.loads((work / 'scores.json').read_text())
    assert 0 <= figures['mIoU'] <= 100
    return figures


def test_config_for_photographs_builds(reader_home: Path, page_blocks: Callable, run_in: Callable[..., str]) -> None:
    """What the page has in place of the small network: the published one, for the classes of my/data.py."""
    blocks = page_blocks(PAGE)
    run_in(next(block.text for block in blocks if block.text.startswith('mkdir -p my')))
    text = next(block.text for block in blocks if block.file == 'my/sipe.py')
    (instead,) = [block.text for block in blocks if block.language == 'python' and not block.file]
    start, end = text.index('model = dict('), text.index('# The loop that scores')
    (reader_home / 'my/photographs.py').write_text(text[:start] + instead + text[end:])
    config = Config.fromfile(reader_home / 'my/photographs.py')
    assert (config.model.backbone.depth, config.train_dataloader.num_workers) == (50, 2)
    assert config.optim_wrapper.optimizer.lr == 0.1
    config.model.backbone.init_cfg = None
    assert MODELS.build(config.model).num_classes == 4


def test_fast(reader_home: Path, page_blocks: Callable, run_in: Callable[..., str]) -> None:
    """With the numbers that the page has for a look at all steps."""
    blocks = page_blocks(PAGE)
    check_promises(reader_home, blocks, run_in(script(blocks, fast=True)), pictures=32, val=4)


@pytest.mark.slow
def test_as_it_stands(reader_home: Path, page_blocks: Callable, run_in: Callable[..., str]) -> None:
    blocks = page_blocks(PAGE)
    figures = check_promises(reader_home, blocks, run_in(script(blocks, fast=False)), pictures=400, val=60)
    assert 65 < figures['mIoU'] < 95, 'the page says about 80'
