"""Commands that are killed at any moment and run again end as if nothing had been; Ctrl-C and SIGTERM end in order."""

import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint, is_whole

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='uses /proc')

ROOT = Path(__file__).parents[2]
NUM_IMAGES = 40
NUM_MASKS = 200
EPOCHS = 6
SECONDS_TO_VANISH = 20.0  # a worker of a killed DataLoader looks every five seconds whether its parent lives
MARK = 'SIPE_TEST_OF_STOPS'  # an environment variable by which every process of a command is known
CONFIG = f"""
_base_ = '{ROOT}/configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
model = dict(
    backbone=dict(stem_channels=8, base_channels=8),
    decode_head=dict(in_channels=[8, 16, 32, 64], side_channels=[8, 8, 16, 16]),
)
train_dataloader = dict(batch_size=8, num_workers=1, persistent_workers=True)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs={EPOCHS}, val_interval={EPOCHS})
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a config with a tiny network, and a checkpoint of random weights."""
    home = tmp_path_factory.mktemp('stops')
    write_shapes(home / 'shapes', ShapesSettings(num_train=NUM_IMAGES, num_val=8, size=96))
    write_instances(home / 'instances.json')
    (home / 'config.py').write_text(CONFIG)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(home / 'config.py').model)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, home / 'random.pth')
    return home


def write_instances(path: Path) -> None:
    """Large objects with many corners in the format of COCO, so that masks take their time."""
    draw = random.Random(0)
    numbers = range(NUM_MASKS)
    shapes = [[draw.uniform(0, 800) for _ in range(400)] for _ in numbers]
    content = {
        'categories': [{'id': 1, 'name': 'cat'}],
        'images': [{'id': number, 'file_name': f'{number}.jpg', 'height': 800, 'width': 800} for number in numbers],
        'annotations': [
            {'id': number, 'image_id': number, 'category_id': 1, 'iscrowd': 0, 'segmentation': [shape]}
            for number, shape in enumerate(shapes)
        ],
    }
    path.write_text(json.dumps(content))


# Commands -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A command and its results.

    Attributes:
        words: The command line; ``{home}`` is the folder of the inputs, ``{out}`` that of the results.
        begun: Files below ``{out}`` that come, or grow by lines, as the work goes on; none if it writes all at the end.
        again: The words to add when it is run again.
        last_line: What it says last when it is stopped.
        kills: How many times it is killed.
    """

    words: str
    begun: str
    again: str
    last_line: str
    kills: int

    def command(self, home: Path, out: Path, again: bool = False) -> list[str]:
        words = shlex.split(self.words.format(home=home, out=out)) + (shlex.split(self.again) if again else [])
        return words if words[0] == 'bash' else [sys.executable, *words]


OPTIONS = '--work-dir {out}/run --cfg-options randomness.deterministic=True'
LABELS = 'tools/generate_labels.py {home}/config.py {home}/random.pth --split train --out {out}/labels'
CRF = 'tools/refine_labels.py crf shapes {home}/labels/labels --split train --out {out}/crf --iterations 60'
CASES = {
    'training': Case(
        words=f'tools/train.py {{home}}/config.py {OPTIONS}',
        begun='run/*/vis_data/scalars.json',
        again='--resume',
        last_line=f'stopped; go on with: python tools/train.py {{home}}/config.py {OPTIONS} --resume',
        kills=7,
    ),
    'training by two': Case(
        words=f'bash tools/dist_train.sh {{home}}/config.py 2 {OPTIONS} train_dataloader.batch_size=4',
        begun='run/*/vis_data/scalars.json',
        again='--resume',
        last_line='stopped; go on with the same command and --resume',
        kills=5,
    ),
    'labels': Case(
        words=f'{LABELS} --cams {{out}}/cams',
        begun='labels/*.png',
        again='',
        last_line='stopped; the same command goes on',
        kills=6,
    ),
    'crf': Case(
        words=f'{CRF} --jobs 1',
        begun='crf/*.png',
        again='',
        last_line='stopped; the same command goes on',
        kills=3,
    ),
    'crf by two': Case(
        words=f'{CRF} --jobs 2',
        begun='crf/*.png',
        again='',
        last_line='stopped; the same command goes on',
        kills=3,
    ),
    'masks of COCO': Case(
        words='tools/dataset_converters/coco14.py {home}/instances.json {out}/masks --workers 2',
        begun='masks/*.png',
        again='',
        last_line='stopped; the same command goes on',
        kills=3,
    ),
    'report': Case(
        words='tools/report.py {home}/labels/labels --dataset shapes --split train --cam-dir {home}/labels/cams '
        '--out {out}/report.html',
        begun='',
        again='',
        last_line='stopped; the same command begins again',
        kills=6,
    ),
}


@contextmanager
def started(command: list[str], home: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """A command in a session of its own, and the mark of its processes; what is left of it at the end is killed."""
    mark = uuid.uuid4().hex
    env = {**os.environ, MARK: mark, 'SHAPES_ROOT': str(home / 'shapes'), 'OMP_NUM_THREADS': '1'}
    env |= {'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        env['PORT'] = str(free.getsockname()[1])
    with open(home / f'{mark}.log', 'w') as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A test run in the background ignores Ctrl-C, and its children would, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield process, mark
    finally:
        for each in living(mark):
            kill(each)
        process.wait()


def living(mark: str) -> list[int]:
    """Processes that have the mark; one that has ended and was not waited for (a zombie) has none."""
    found = []
    for path in Path('/proc').glob('[0-9]*/environ'):
        try:
            if f'{MARK}={mark}'.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # of another user, or gone
            continue
    return found


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def finish(command: list[str], home: Path) -> float:
    """Run a command to its end and return the seconds it took."""
    begin = time.monotonic()
    with started(command, home) as (process, mark):
        code = process.wait(timeout=600)
    assert code == 0, (home / f'{mark}.log').read_text()[-5000:]
    return time.monotonic() - begin


# Results --------------------------------------------------------------------------------------------------------------


def results(out: Path) -> dict[str, Any]:
    """All label maps, CAM files, weights, scores and pages below a folder, by what can be compared exactly."""
    found: dict[str, Any] = {}
    for path in sorted([*out.rglob('*.png'), *out.rglob('*.html')]):
        found[str(path.relative_to(out))] = path.read_bytes()
    for path in sorted(out.rglob('*.npz')):
        with np.load(path) as file:
            found |= {f'{path.relative_to(out)} {name}': file[name].tobytes() for name in file}
    if (out / 'run').is_dir():
        checkpoint = find_checkpoint(out / 'run')
        found['checkpoint'] = checkpoint.name
        contents = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu')
        found |= {f'weight {name}': value.numpy().tobytes() for name, value in contents['state_dict'].items()}
        for number, state in contents['optimizer']['state'].items():
            found |= {f'momentum {number}': state['momentum_buffer'].numpy().tobytes()}
        lines = [line for path in sorted((out / 'run').rglob('scalars.json')) for line in path.open()]
        found['scores'] = [line.split('"data_time"')[0] for line in lines if 'mIoU' in line][-1]
    return found


def assert_whole(out: Path, expected: dict[str, Any]) -> None:
    """Whatever a killed command has left under a final name is the whole file."""
    for path in [*out.rglob('[!.]*.png'), *out.rglob('[!.]*.html')]:
        assert path.read_bytes() == expected[str(path.relative_to(out))], path
    for path in out.rglob('[!.]*.npz'):
        with np.load(path) as file:
            assert {name: file[name].tobytes() for name in file} == {
                name: expected[f'{path.relative_to(out)} {name}'] for name in file
            }
    for path in out.rglob('[!.]*.pth'):
        assert is_whole(path), path


@dataclass(frozen=True)
class Undisturbed:
    """Results of a run that nothing disturbed, its seconds, after how many of them its work began, and its steps."""

    results: dict[str, Any]
    seconds: float
    begin: float
    steps: int


@pytest.fixture(scope='module')
def undisturbed(home: Path) -> Callable[[str], Undisturbed]:
    """Run a case's command, and before it what it needs, once."""
    known: dict[str, Undisturbed] = {}

    def run(name: str) -> Undisturbed:
        if name not in known:
            if name in ('crf', 'crf by two', 'report'):
                run('labels')
            out = home / name.replace(' ', '_')
            begin = time.monotonic()
            with started(CASES[name].command(home, out), home) as (process, mark):
                if CASES[name].begun:
                    wait_until(lambda: process.poll() is not None or steps(out, name), 300, name)
                first = time.monotonic() - begin
                code = process.wait(timeout=600)
            assert code == 0, (home / f'{mark}.log').read_text()[-5000:]
            known[name] = Undisturbed(results(out), time.monotonic() - begin, first, steps(out, name))
        return known[name]

    return run


def steps(out: Path, name: str) -> int:
    """How far it is: label maps that are there, or lines of the training log."""
    paths = list(out.glob(CASES[name].begun)) if CASES[name].begun else []
    return sum(path.read_bytes().count(b'\n') if path.suffix == '.json' else 1 for path in paths)


# Tests ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_killed_at_random_moments_it_ends_the_same(
    name: str, home: Path, undisturbed: Callable[[str], Undisturbed], tmp_path: Path
) -> None:
    """One moment in each of as many equal parts of the work; every second time the first process alone is killed."""
    case, whole = CASES[name], undisturbed(name)
    draw = random.Random(name)
    for number in range(case.kills):
        out = tmp_path / str(number)
        alone = number % 2 == 1
        part = (number + draw.random()) / case.kills
        for _ in range(5):
            with started(case.command(home, out), home) as (process, mark):
                if case.begun and number > 0:
                    enough = part * whole.steps  # whatever else the machine does meanwhile
                    wait_until(lambda: process.poll() is not None or steps(out, name) >= enough, 600, name)  # noqa: B023
                    time.sleep(draw.random() * (whole.seconds - whole.begin) / whole.steps)
                else:
                    time.sleep(part * whole.seconds)
                hit = process.poll() is None
                for each in [process.pid] if alone else living(mark):
                    kill(each)
                process.wait()
                if hit:
                    assert process.returncode == -signal.SIGKILL
                    assert_whole(out, whole.results)
                    done = len(list(out.rglob('[!.]*.p[nt][gh]')))
                    # At once, while data workers of the first one may still be there.
                    again = finish(case.command(home, out, again=True), home)
                    wait_until(lambda: not living(mark), SECONDS_TO_VANISH, f'left behind by {name}')
                    break
            part *= 0.8  # the machine has other things to do at times, and fewer now
            shutil.rmtree(out)
        assert hit
        assert results(out) == whole.results
        assert not list(out.rglob('.*.tmp'))
        print(f'{name}: killed at {part:.0%}, {done} files there, again {again:.1f} s')


@pytest.mark.parametrize(
    ('name', 'number'),
    [
        pytest.param(name, number, marks=[] if (name, number) == ('labels', signal.SIGTERM) else pytest.mark.slow)
        for name, case in CASES.items()
        for number in (signal.SIGINT, signal.SIGTERM)
        if case.begun
    ],
)
def test_ctrl_c_and_sigterm_end_in_order(
    name: str, number: int, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case = CASES[name]
    if name.startswith('crf'):
        request.getfixturevalue('undisturbed')('labels')
    with started(case.command(home, tmp_path), home) as (process, mark):
        wait_until(lambda: steps(tmp_path, name) or process.poll() is not None, 300, name)
        # Ctrl-C reaches the whole foreground group, SIGTERM one process.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        code = process.wait(timeout=60)
        # Python's own resource tracker ends a moment after the last process that has used it.
        wait_until(lambda: not living(mark), 3, f'left behind by {name}')
    said = (home / f'{mark}.log').read_text()
    assert code == 128 + number, said[-3000:]
    assert said.splitlines()[-1] == case.last_line.format(home=home, out=tmp_path), said[-3000:]
    assert not list(tmp_path.rglob('.*.tmp'))


def test_one_killed_process_of_several_ends_the_command(home: Path, tmp_path: Path) -> None:
    """As the system does where memory runs out: the others do not wait for it."""
    name = 'masks of COCO'
    with started(CASES[name].command(home, tmp_path), home) as (process, mark):
        wait_until(lambda: steps(tmp_path, name) or process.poll() is not None, 120, name)
        others = [each for each in living(mark) if each != process.pid]
        kill(next(each for each in others if b'resource_tracker' not in Path(f'/proc/{each}/cmdline').read_bytes()))
        code = process.wait(timeout=60)
        wait_until(lambda: not living(mark), 3, f'left behind by {name}')
    said = (home / f'{mark}.log').read_text()
    assert code == 1 and 'Traceback' not in said, said[-3000:]
    assert said.splitlines()[-1].startswith('a process was killed, perhaps because memory ran out: ')
    assert said.splitlines()[-1].endswith('with fewer --workers, it goes on')
    assert 0 < steps(tmp_path, name) < NUM_MASKS
