"""The whole chain on the built-in set: stopped at any moment it goes on, and ends where it would have ended."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from PIL import Image

ROOT = Path(__file__).parents[1]
NUM_STOPS = 10

PIPELINE = """
_base_ = {base!r}
work_dir = {work_dir!r}
shapes_options = ['--num-train', '24', '--num-val', '8', '--size', '96']
sipe_options = ['--cfg-options', 'train_cfg.max_epochs=3', 'train_dataloader.batch_size=8']
irn_options = ['--cfg-options', 'train_cfg.max_epochs=3', 'train_dataloader.batch_size=8']
seg_options = [
    '--cfg-options',
    'train_cfg.max_iters=12',
    'train_dataloader.batch_size=8',
    'default_hooks.checkpoint.interval=3',
]
"""


def start(config: Path, data: Path) -> subprocess.Popen:
    env = {**os.environ, 'SHAPES_ROOT': str(data), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    with open(config.with_suffix('.log'), 'a') as log:
        return subprocess.Popen(
            [sys.executable, 'tools/run_pipeline.py', str(config)], cwd=ROOT, env=env, stdout=log, stderr=log
        )


def write_config(folder: Path, name: str) -> Path:
    path = folder / f'{name}.py'
    path.write_text(PIPELINE.format(base=str(ROOT / 'configs/pipelines/shapes.py'), work_dir=str(folder / name)))
    return path


def results(work_dir: Path) -> dict[str, np.ndarray]:
    """Pixels of all label maps and numbers of all CAM files, by their place.

    Not their bytes: a CAM file also notes the checkpoint file, which holds the time when it was written.
    """
    found = {}
    for pattern in ('labels/*/*.png', 'ir_labels/*.png'):
        for path in work_dir.glob(pattern):
            found[str(path.relative_to(work_dir))] = np.array(Image.open(path))
    for path in work_dir.glob('cams/*.npz'):
        with np.load(path) as file:
            for name in set(file) - {'made_with'}:
                found[f'{path.relative_to(work_dir)} {name}'] = file[name]
    return found


def weights(work_dir: Path, name: str) -> dict[str, torch.Tensor]:
    path = (work_dir / name / 'last_checkpoint').read_text()
    return CheckpointLoader.load_checkpoint(path, map_location='cpu')['state_dict']


@pytest.mark.slow
def test_killed_ten_times_it_ends_the_same(tmp_path: Path) -> None:
    pytest.importorskip('pydensecrf', reason="needs the extra 'crf'")
    config = write_config(tmp_path, 'undisturbed')
    assert start(config, tmp_path / 'data').wait() == 0, config.with_suffix('.log').read_text()[-3000:]
    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / 'undisturbed/stages').glob('*.json')}
    order = sorted(records, key=lambda name: (tmp_path / f'undisturbed/stages/{name}.json').stat().st_mtime)

    config = write_config(tmp_path, 'killed')
    draw = random.Random(0)
    for number in sorted(draw.sample(range(len(order)), NUM_STOPS)):
        process = start(config, tmp_path / 'data2')
        record = tmp_path / f'killed/stages/{order[number]}.json'
        while not record.exists():
            assert process.poll() is None, config.with_suffix('.log').read_text()[-3000:]
            time.sleep(0.05)
        time.sleep(draw.random() * records[order[number]]['seconds'])
        process.kill()
        process.wait()
        time.sleep(1)  # the lock of a killed process is free a moment later
    assert start(config, tmp_path / 'data2').wait() == 0, config.with_suffix('.log').read_text()[-3000:]

    expected, found = results(tmp_path / 'undisturbed'), results(tmp_path / 'killed')
    assert len(expected) == 24 * (5 + 3)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    for name in ('sipe', 'irn', 'seg/irn_crf'):
        before, after = weights(tmp_path / 'undisturbed', name), weights(tmp_path / 'killed', name)
        assert before.keys() == after.keys()
        assert [key for key in before if not torch.equal(before[key], after[key])] == []
    summaries = [json.loads((tmp_path / name / 'summary.json').read_text()) for name in ('undisturbed', 'killed')]
    figures = [
        {
            stage: {key: value for key, value in found['figures'].items() if not key.endswith('time')}
            for stage, found in summary.items()
        }
        for summary in summaries
    ]
    assert figures[0] == figures[1]
    assert np.isfinite(figures[0]['score_seg_irn_crf']['mIoU'])
    assert not list((tmp_path / 'killed').rglob('.*.tmp'))
