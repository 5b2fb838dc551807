"""Disk, memory, files, data workers, numbers, clock and other runs: what fails says so, and nothing is lost by it."""

import errno
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sipe_mmseg.datasets import folder_lock as folder_lock_module
from sipe_mmseg.datasets.atomic_write import check_writable, check_writable_folder
from sipe_mmseg.datasets.cam_files import write_cam
from sipe_mmseg.datasets.folder_lock import FolderInUseError, folder_lock
from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.result_folder import ResultFolder
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine import mmseg_tools
from sipe_mmseg.engine.finite_loss_hook import DivergedError
from sipe_mmseg.engine.new_files import file_states, newly_written
from sipe_mmseg.report.document import write_page
from sipe_mmseg.visualization import SIPELocalVisualizer, local_visualizer
from sipe_mmseg_cli import configs as any_command
from sipe_mmseg_cli.faults import explain
from sipe_mmseg_cli.main import main

REPOSITORY = Path(__file__).parents[2]
BASE = REPOSITORY / 'configs' / '_base_'
NOBODY = 65534


# A training of one weight, with the hooks of every config -------------------------------------------------------------


class Images(Dataset):
    """Six images by name; each is a number, and ``faults`` says what happens instead when one is loaded."""

    def __init__(self, faults: dict[int, Callable[[], Any]] | None = None) -> None:
        self.metainfo: dict[str, Any] = {}
        self.faults = faults or {}

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.faults:
            self.faults[index]()
        return dict(
            inputs=torch.tensor([float(index)]), data_samples=SegDataSample(metainfo=dict(img_path=f'{index}.jpg'))
        )


class OneWeight(BaseModel):
    """Its loss is ``loss_of(weights, iteration)``, iterations counted from 1."""

    def __init__(self, loss_of: Callable[[torch.Tensor, int], torch.Tensor], size: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.loss_of = loss_of
        self.done = 0

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'loss') -> dict[str, torch.Tensor]:
        self.done += 1
        return dict(loss_cls=self.loss_of(self.weight, self.done), loss_gsc=self.weight.sum() * 0)


def smooth(weight: torch.Tensor, iteration: int) -> torch.Tensor:
    return (weight**2).mean()


def runner_of(
    work_dir: Path,
    loss_of: Callable[[torch.Tensor, int], torch.Tensor] = smooth,
    *,
    images: Images | None = None,
    hooks: tuple[Hook, ...] = (),
    workers: int = 0,
    size: int = 1,
    without: tuple[str, ...] = (),
    checkpoint: dict[str, Any] | None = None,
    sampler: str = 'InfiniteSampler',
    train_cfg: dict[str, Any] | None = None,
    **options: Any,
) -> Runner:
    """A Runner with the hooks of the shipped configs: ten iterations of two images, a checkpoint after every second."""
    default_hooks = Config.fromfile(BASE / 'default_runtime.py', import_custom_modules=False).default_hooks
    default_hooks.checkpoint.update(checkpoint or dict(by_epoch=False, interval=2))
    default_hooks.logger.interval = 1
    for name in ('visualization', 'fold_batch_norm', *without):
        del default_hooks[name]
    return Runner(
        model=OneWeight(loss_of, size),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=workers,
            dataset=images or Images(),
            sampler=dict(type=sampler, shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=train_cfg or dict(type='IterBasedTrainLoop', max_iters=10),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=default_hooks,
        custom_hooks=[dict(type='ImagesPerSecondHook'), *hooks],
        log_processor=dict(by_epoch=False),
        log_level='WARNING',
        default_scope='mmseg',
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}_{time.monotonic_ns()}',
        **options,
    )


def last_checkpoint(work_dir: Path) -> tuple[str, dict[str, Any]]:
    """Name and content of the last checkpoint."""
    path = Path((work_dir / 'last_checkpoint').read_text())
    return path.name, torch.load(path, weights_only=False)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')


def command_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    """What a command that raises an error prints; it must fail with exit code 1."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(any_command, 'main', fail)
    assert main(['configs']) == 1
    return capsys.readouterr().err


def train(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, work_dir: Path, run: Callable) -> str:
    """What ``sipe-mmseg train`` prints to standard error when MMSegmentation's script does this; it must fail."""
    monkeypatch.setattr(mmseg_tools, 'run_mmseg_tool', lambda name, words: run())
    code = main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', '--work-dir', str(work_dir)])
    assert code == 1
    return capfd.readouterr().err


# A loss that turns NaN ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path, value: float) -> None:
    with pytest.raises(DivergedError) as caught:
        runner_of(tmp_path, lambda weight, done: smooth(weight, done) * (value if done == 8 else 1)).train()
    message = str(caught.value)
    assert message.startswith('iteration 8: the loss is not finite (loss ')
    assert f'loss_cls {value:.4g}, loss_gsc 0' in message
    assert 'Its images:\n  2.jpg\n  3.jpg\n' in message, 'two at a time, six in all: the eighth pair is the second'
    assert f'The last good checkpoint is {tmp_path}/iter_6.pth; --resume goes on from it' in message
    name, content = last_checkpoint(tmp_path)
    assert name == 'iter_6.pth' and not (tmp_path / 'iter_8.pth').exists()
    assert content['state_dict']['weight'].isfinite().all()

    runner = runner_of(tmp_path, resume=True)
    runner.train()
    assert runner.iter == 10 and last_checkpoint(tmp_path)[0] == 'iter_10.pth'


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    """The eighth step has a finite loss and an infinite gradient; its checkpoint would be as bad as a NaN loss."""
    with pytest.raises(DivergedError) as caught:
        runner_of(tmp_path, lambda weight, done: ((weight * 0).sqrt() if done == 8 else weight**2).mean()).train()
    message = str(caught.value)
    assert message.startswith('iteration 8: 1 weights are not finite (weight), and no checkpoint was written.')
    assert 'Its images:\n  2.jpg\n  3.jpg\n' in message
    assert f'The last good checkpoint is {tmp_path}/iter_6.pth' in message
    name, content = last_checkpoint(tmp_path)
    assert name == 'iter_6.pth' and content['state_dict']['weight'].isfinite().all()


def test_an_epoch_that_spoils_the_weights_ends_with_its_last_iteration(tmp_path: Path) -> None:
    """Three iterations an epoch: MMEngine has counted on when the second checkpoint is refused."""
    runner = runner_of(
        tmp_path,
        lambda weight, done: ((weight * 0).sqrt() if done == 6 else weight**2).mean(),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4),
        sampler='DefaultSampler',
        checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=1),
    )
    with pytest.raises(DivergedError, match=r'^iteration 6: 1 weights are not finite') as caught:
        runner.train()
    assert f'The last good checkpoint is {tmp_path}/epoch_1.pth' in str(caught.value)
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_what_is_called_the_last_good_checkpoint_is_whole(tmp_path: Path) -> None:
    runner_of(tmp_path).train()
    os.truncate(tmp_path / 'iter_10.pth', 1000)
    with pytest.raises(DivergedError) as caught:
        runner_of(tmp_path, lambda weight, done: weight.mean() * float('nan'), resume=True).train()
    assert str(caught.value).startswith('iteration 9: ')
    assert f'The last good checkpoint is {tmp_path}/iter_8.pth; --resume' in str(caught.value)


def test_a_checkpoint_of_another_run_is_not_called_this_ones(tmp_path: Path) -> None:
    runner_of(tmp_path).train()
    with pytest.raises(DivergedError, match='This run has written no checkpoint yet'):
        runner_of(tmp_path, lambda weight, done: weight.mean() * float('nan')).train()
    assert last_checkpoint(tmp_path)[0] == 'iter_10.pth'


def test_infinite_gradients_that_loss_scaling_skips_stop_nothing(tmp_path: Path) -> None:
    class SkipInfinite(Hook):
        """What ``GradScaler`` does with such a step."""

        def before_train(self, runner: Runner) -> None:
            weight = runner.model.weight
            weight.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0))

    runner = runner_of(
        tmp_path,
        lambda weight, done: ((weight * 0).sqrt() if done == 4 else weight**2).mean(),
        hooks=(SkipInfinite(),),
    )
    runner.train()
    assert runner.iter == 10


def test_where_nothing_is_wrong_the_hooks_change_nothing(tmp_path: Path) -> None:
    weights = []
    for number, without in enumerate([(), ('finite_loss', 'work_dir_lock')]):
        runner = runner_of(tmp_path / str(number), without=without)
        runner.train()
        weights.append(runner.model.weight.detach())
    assert torch.equal(*weights)


def test_the_command_says_it_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    runner = runner_of(tmp_path, lambda weight, done: weight.mean() * float('nan'))
    printed = train(monkeypatch, capfd, tmp_path, runner.train)
    assert 'iteration 1: the loss is not finite' in printed and 'Traceback' not in printed


# Memory ---------------------------------------------------------------------------------------------------------------


def error_of(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


@pytest.mark.parametrize(
    'allocate', [lambda: torch.empty(2**50), lambda: np.empty(2**60, np.uint8)], ids=['torch', 'numpy']
)
def test_memory_of_the_machine(
    allocate: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    error = error_of(allocate)
    message = explain(error, 'train')
    assert message is not None and message.startswith('this machine has not enough memory (')
    for help_ in ('train_dataloader.batch_size', 'accumulative_counts', 'smaller crop', 'num_workers=1', '--resume'):
        assert help_ in message
    for command, help_ in (('labels', 'mode=slide'), ('predict', '--working-pixels'), ('refine', '--jobs')):
        assert help_ in (explain(error, command) or '')
    assert command_raises(error, monkeypatch, capsys).startswith('this machine has not enough memory')


@pytest.mark.parametrize(
    'error',
    [
        torch.cuda.OutOfMemoryError(
            'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...'
        ),
        RuntimeError('CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported'),
        RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'),
    ],
)
def test_memory_of_a_gpu(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def fail() -> None:
        raise error

    printed = train(monkeypatch, capfd, tmp_path, fail)
    assert printed.startswith('the GPU has not enough memory') and printed.count('\n') == 1
    assert ('(2.00 GiB more)' in printed) == ('2.00 GiB' in str(error))
    for help_ in ('train_dataloader.batch_size', 'accumulative_counts', 'smaller crop', '--amp'):
        assert help_ in printed


def test_other_errors_are_not_taken_for_memory() -> None:
    assert explain(ValueError('a list of images that is out of memory cards'), 'train') is None
    assert explain(RuntimeError('mat1 and mat2 shapes cannot be multiplied'), 'train') is None


# Data workers ---------------------------------------------------------------------------------------------------------


def test_a_killed_data_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    images = Images({4: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    runners = [runner_of(tmp_path, images=images, workers=2)]
    printed = train(monkeypatch, capfd, tmp_path, lambda: runners.pop().train())
    # The other worker may have had something to say as well, if the killed one was just talking to it.
    (line,) = [line for line in printed.splitlines() if line.startswith('a data worker was killed')]
    assert 'by hand, or by the system because memory ran out' in line
    assert 'train_dataloader.num_workers=1' in line and '--resume goes on' in line
    gc.collect()  # as the end of the process does
    for child in multiprocessing.active_children():
        child.join(10)
    assert not multiprocessing.active_children()


def test_shared_memory_that_is_too_small() -> None:
    error = RuntimeError('DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...')
    assert '--shm-size' in (explain(error, 'train') or '')


def test_an_error_in_a_data_worker_is_told_in_its_own_words() -> None:
    def fail() -> None:
        raise ValueError('a.npz: made with another checkpoint\nRemove it')

    loader = DataLoader(Images({0: fail}), num_workers=1)
    error = error_of(lambda: next(iter(loader)))
    assert 'Traceback' in str(error)
    assert explain(error, 'labels') == 'a.npz: made with another checkpoint\nRemove it'


# Files that vanish ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_vanishes_during_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, workers: int
) -> None:
    path = tmp_path / 'it is here.jpg'
    runner = runner_of(tmp_path, images=Images({5: path.read_bytes}), workers=workers)
    (line,) = train(monkeypatch, capfd, tmp_path, runner.train).splitlines()
    assert line.startswith(f'{path}: no such file. If it was there a moment ago')
    assert '--resume goes on from the last checkpoint' in line
    assert last_checkpoint(tmp_path)[0] == 'iter_2.pth'


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four images, a config, a checkpoint of random weights."""
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=4, num_val=2, size=64))
    base = REPOSITORY / 'configs' / 'sipe' / 'sipe_r18_1xb16-6e_shapes-160x160.py'
    (home / 'config.py').write_text(
        f"_base_ = '{base}'\nmodel = dict(decode_head=dict(side_channels=[8, 8, 16, 16]))\n"
    )
    config = Config.fromfile(home / 'config.py')
    torch.manual_seed(0)
    torch.save({'state_dict': MODELS.build(config.model).state_dict(), 'meta': {}}, home / 'one.pth')
    return home


def label(home: Path, out: Path, *more: str) -> int:
    words = ['labels', home / 'config.py', home / 'one.pth', '--split', 'train', '--out', out, '--no-tta', *more]
    return main(list(map(str, words)))


def test_an_image_that_vanishes_while_labels_are_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    image = home / 'shapes' / 'JPEGImages' / 'train_0002.jpg'
    start = ResultFolder.start

    def start_and_lose(self: ResultFolder, *given: Any) -> None:
        start(self, *given)
        image.rename(tmp_path / 'kept.jpg')

    out = tmp_path / 'out'
    one_worker = ['--cfg-options', 'test_dataloader.num_workers=1', 'test_dataloader.persistent_workers=False']
    with monkeypatch.context() as patch:
        patch.setattr(ResultFolder, 'start', start_and_lose)
        assert label(home, out, *one_worker) == 1
    printed = capfd.readouterr().err
    assert f'{image}: no such file. If it was there a moment ago' in printed.splitlines()[-1]
    assert 'Traceback' not in printed
    (tmp_path / 'kept.jpg').rename(image)
    assert label(home, out) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        'settings.json',
        *(f'train_{number:04}.png' for number in range(4)),
    ]


# A full disk, a read-only one, folders of others ----------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte in memory. Where ``SMALL_DISK`` is ``required``, as in ``.ci/run``, none is a failure."""
    place = tmp_path / 'disk'
    place.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], capture_output=True, check=False)
    if done.returncode:
        end = pytest.fail if os.environ.get('SMALL_DISK') == 'required' else pytest.skip
        end('no small disk: root may mount one, anybody else within `unshare --map-root-user --mount`')
    yield place
    subprocess.run(['umount', '--lazy', place], check=True)


def fill(disk: Path) -> Path:
    with open(disk / 'filler', 'wb', buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return disk / 'filler'


def test_results_on_a_full_disk(small_disk: Path) -> None:
    folder = ResultFolder(small_disk / 'none yet', '.png')
    folder.start({'tool': 'a', 'version': '1'})
    filler = fill(small_disk)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64))
    writes: dict[str, Callable[[], object]] = {
        'a.png': lambda: write_label_png(small_disk / 'a.png', noise, [[0, 0, 0]]),
        'a.npz': lambda: write_cam(small_disk / 'a.npz', np.array([1]), noise[None].repeat(2, 0) / 255, (64, 64)),
        'report.html': lambda: write_page(small_disk / 'report.html', 'x' * 9000),
        'none yet/settings.json': lambda: folder.start({'tool': 'b' * 9000, 'version': '1'}),
        '.lock': lambda: folder_lock(small_disk).__enter__(),
    }
    for name, write in writes.items():
        place = small_disk / name
        with pytest.raises(OSError, match=f'no space left in {place.parent} for {place.name}: free some') as caught:
            write()
        assert explain(caught.value, 'labels') == caught.value.strerror
    left = {path.name for path in small_disk.rglob('*')} - {'.lock'}
    assert left == {'filler', 'none yet', 'settings.json'}
    assert folder.settings() == {'tool': 'a', 'version': '1'}
    filler.unlink()
    for name, write in writes.items():
        if name != '.lock':
            write()
            assert (small_disk / name).is_file()


def test_a_checkpoint_on_a_full_disk(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Each is 0.6 MB: there is room for one."""
    runner = runner_of(small_disk, size=150_000)
    printed = train(monkeypatch, capfd, small_disk, runner.train)
    assert printed.splitlines()[-1].endswith('and the same command with --resume goes on from the newest')
    assert 'no space left' in printed.splitlines()[-1] and 'Traceback' not in printed
    assert [path.name for path in small_disk.glob('*.pth')] == ['iter_2.pth'], 'nothing half written'
    name, content = last_checkpoint(small_disk)
    assert name == 'iter_2.pth' and len(content['state_dict']['weight']) == 150_000


def test_pictures_of_a_training_on_a_full_disk_are_a_warning(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine does not ask whether OpenCV could write them."""
    said: list[str] = []
    monkeypatch.setattr(local_visualizer, 'print_log', lambda text, *_: said.append(text))
    visualizer = SIPELocalVisualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(small_disk))
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    visualizer.add_datasample('before', picture)
    assert not said
    filler = fill(small_disk)
    for step in (1, 2):
        visualizer.add_datasample('cat', picture, step=step)
    (line,) = said
    assert line.startswith(f'{small_disk}/vis_data/vis_image/cat_1.png: the picture could not be written'), line
    filler.unlink()


def error_in_a_child(function: Callable[[], object], user: int | None = None) -> str:
    """The message of the error that a function raises in another process, perhaps for a user with no rights at all."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user is not None and os.geteuid() == 0:
                os.setgroups([])
                os.setuid(user)
            function()
        except BaseException as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        message = file.read()
    os.waitpid(child, 0)
    return message


def test_a_folder_of_somebody_else() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        for target, write in (
            ('a.html', lambda: check_writable(folder / 'a.html')),
            ('.lock', lambda: folder_lock(folder).__enter__()),
            ('.lock', lambda: folder_lock(folder / 'new').__enter__()),
            ('a.png', lambda: write_label_png(folder / 'a.png', np.zeros((2, 2)), [[0, 0, 0]])),
        ):
            message = error_in_a_child(write, NOBODY)
            assert f'cannot write {target} into {folder}' in message, message
            assert '(Permission denied): name a folder that you may write to' in message
        assert not list(folder.iterdir())


@pytest.mark.parametrize('command', ['train', 'labels', 'refine', 'report', 'evaluate'])
def test_a_read_only_place_is_noticed_before_the_work(
    command: str, home: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    masks = home / 'shapes' / 'SegmentationClass'
    subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)
    reached: list[str] = []
    for place in (
        'sipe_mmseg.engine.mmseg_tools.run_mmseg_tool',
        'sipe_mmseg.engine.label_generation._run',
        'sipe_mmseg.engine.label_refinement.refine_labels',
        'sipe_mmseg.report.collect_label_report',
        'sipe_mmseg.evaluation.label_scores.score_labels',
    ):
        monkeypatch.setattr(place, lambda *given, place=place, **named: reached.append(place))
    if command == 'train':
        code = main(['train', str(home / 'config.py'), '--work-dir', str(small_disk / 'run')])
    elif command == 'labels':
        code = label(home, small_disk / 'labels')
    elif command == 'refine':
        words = ['refine', 'crf', 'shapes', masks, '--split', 'train', '--out', small_disk / 'refined']
        code = main(list(map(str, words)))
    else:
        result = {'report': '--out', 'evaluate': '--json'}[command]
        words = [command, masks, '--dataset', 'shapes', '--split', 'train', result, small_disk / 'result']
        code = main(list(map(str, words)))
    printed = capfd.readouterr().err
    assert code == 1 and not reached
    assert f'into {small_disk}' in printed.splitlines()[-1] and '(Read-only file system)' in printed
    assert 'Traceback' not in printed


def test_a_result_that_could_only_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    check_writable(tmp_path / 'new' / 'folder' / 'a.html')
    assert [path.name for path in tmp_path.iterdir()] == ['file'], 'nothing is made'
    with pytest.raises(IsADirectoryError, match='is a folder; name a file'):
        check_writable(tmp_path)
    with pytest.raises(NotADirectoryError, match='file is a file'):
        check_writable(tmp_path / 'file' / 'a.html')


def test_a_folder_that_could_only_be_a_file(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    check_writable_folder(tmp_path)
    check_writable_folder(tmp_path / 'new' / 'folder')
    assert [path.name for path in tmp_path.iterdir()] == ['file'], 'nothing is made'
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'vis'):
        with pytest.raises(NotADirectoryError, match=r'/file is a file, .*; name a folder'):
            check_writable_folder(folder)


@pytest.mark.parametrize(
    'words',
    [
        ['predict', 'shapes', 'photos', '--weights', 'file', '--out-dir', 'file'],
        ['labels', 'shapes', 'file', '--out', 'file'],
        ['labels', 'shapes', 'file', '--out', 'new', '--cams', 'file'],
        ['refine', 'ir', 'shapes', 'cams', '--out', 'file'],
        ['overlays', 'shapes', 'file', '--out', 'file'],
        ['compare', 'shapes', 'file', '--out', 'file', '--methods', 'GradCAM'],
    ],
)
def test_a_file_in_the_place_of_a_folder_is_noticed_before_the_work(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """The config's data set is nowhere, and the checkpoint is none: both are read later."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('SHAPES_ROOT', 'nowhere')
    Path('file').write_text('mine')
    config = 'sipe_r18_1xb16-6e_shapes-160x160'
    assert main([config if word == 'shapes' else word for word in words]) == 1
    assert 'file is a file' in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['file'] and Path('file').read_text() == 'mine'


# A clock that jumps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('jump', [-3600.0, 1.7e9])
def test_a_clock_that_is_set_during_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    real, shift = time.time, [0.0]
    seconds: list[float] = []

    class SetTheClock(Hook):
        priority = 'VERY_LOW'

        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            if runner.iter == 4:
                shift[0] = jump

        def after_train_iter(self, runner: Runner, *given: Any, **named: Any) -> None:
            seconds.append(runner.message_hub.get_scalar('train/time').current())
            seconds.append(runner.message_hub.get_info('eta'))
            assert runner.message_hub.get_scalar('train/images_per_second').current() > 0

    monkeypatch.setattr(time, 'time', lambda: real() + shift[0])
    runner_of(tmp_path, hooks=(SetTheClock(),)).train()
    assert len(seconds) == 20 and all(-1e-3 <= value < 600 for value in seconds)


def test_what_was_written_is_found_whatever_time_it_has(tmp_path: Path) -> None:
    old, new = tmp_path / '2030' / 'a.json', tmp_path / '1970' / 'a.json'
    for path in (old, new):
        path.parent.mkdir()
    old.write_text('1')
    os.utime(old, (2e9, 2e9))
    pattern = f'{tmp_path}/*/*.json'
    before = file_states(pattern)
    assert newly_written(pattern, before) is None
    new.write_text('2')
    os.utime(new, (1, 1))
    assert newly_written(pattern, before) == new


# Two runs in one folder -----------------------------------------------------------------------------------------------


def test_a_folder_has_one_run_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with folder_lock(tmp_path / 'run'):
            worker = os.fork()  # as a data worker, which lives on for a moment when the run is killed
            if worker:
                os.write(writing, str(worker).encode())
            time.sleep(600)
    worker = int(os.read(reading, 20))
    with pytest.raises(FolderInUseError, match=f'run: another run is at work there .process {child} on '):
        folder_lock(tmp_path / 'run').__enter__()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        with folder_lock(tmp_path / 'run'):
            assert (tmp_path / 'run' / '.lock').is_file()
    finally:
        os.kill(worker, signal.SIGKILL)
    assert not list((tmp_path / 'run').iterdir())


def test_locks_that_come_and_go_never_let_two_in(tmp_path: Path) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            entered = 0
            while entered < 50:
                try:
                    with folder_lock(tmp_path):
                        os.close(os.open(tmp_path / 'inside', os.O_CREAT | os.O_EXCL))
                        os.unlink(tmp_path / 'inside')
                        entered += 1
                except FolderInUseError:
                    continue
                except FileExistsError:
                    os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    said: list[str] = []
    monkeypatch.setattr(folder_lock_module.fcntl, 'flock', refuse)
    monkeypatch.setattr(folder_lock_module, 'print_log', lambda text, *_: said.append(text))
    with folder_lock(tmp_path):
        pass
    assert len(said) == 1 and f'{tmp_path}: its file system knows no locks (No locks available)' in said[0]


@contextmanager
def another_process_at_work(folder: Path) -> Iterator[int]:
    """Its number; it holds the lock of the folder."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with folder_lock(folder):
            os.write(writing, b'.')
            time.sleep(600)
    os.read(reading, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_second_training_is_refused_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    with another_process_at_work(tmp_path) as other:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        started: list[str] = []
        printed = train(monkeypatch, capfd, tmp_path, lambda: started.append('it'))
        assert not started and printed.startswith(f'{tmp_path}: another run is at work there (process {other} ')
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
        with pytest.raises(FolderInUseError):  # started by MMSegmentation's own script, or from Python
            runner_of(tmp_path).train()
    runner_of(tmp_path).train()


@pytest.mark.parametrize('without', [(), ('work_dir_lock',)], ids=['hook', 'no hook'])
def test_the_command_holds_the_folder_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, without: tuple[str, ...]
) -> None:
    """Before the training begins, while it runs, and when it has ended: MMEngine writes the config first of all."""
    link = tmp_path / 'link'
    (tmp_path / 'run').mkdir()
    link.symlink_to('run')
    seen: list[str] = []

    def look() -> None:
        seen.append(error_in_a_child(lambda: folder_lock(tmp_path / 'run').__enter__()))

    class Look(Hook):
        def after_train_iter(self, *given: Any, **named: Any) -> None:
            look()

    def run() -> None:
        look()
        runner_of(link, without=without, hooks=(Look(),)).train()
        look()
        raise DivergedError('so that it ends with 1')

    train(monkeypatch, capfd, tmp_path / 'run', run)
    assert len(seen) == 12 and all('another run is at work there' in said for said in seen)
    assert not (tmp_path / 'run' / '.lock').exists()
    with folder_lock(tmp_path / 'run'):
        pass


@pytest.mark.parametrize(('rank', 'held'), [(None, True), ('', True), ('0', True), ('1', False)])
def test_the_first_process_holds_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    rank: str | None,
    held: bool,
) -> None:
    monkeypatch.delenv('RANK', raising=False)
    if rank is not None:
        monkeypatch.setenv('RANK', rank)

    def run() -> None:
        assert (tmp_path / '.lock').exists() == held
        raise DivergedError('it was reached')

    assert 'it was reached' in train(monkeypatch, capfd, tmp_path, run)


def test_a_lock_is_joined_by_its_own_process_alone(tmp_path: Path) -> None:
    with folder_lock(tmp_path), folder_lock(tmp_path, join=True):
        with folder_lock(tmp_path, join=True):
            pass
        assert (tmp_path / '.lock').exists(), 'who joins does not free it'
        with pytest.raises(FolderInUseError):
            folder_lock(tmp_path).__enter__()
        said = error_in_a_child(lambda: folder_lock(tmp_path, join=True).__enter__())
        assert 'another run is at work there' in said
    assert not (tmp_path / '.lock').exists()


def test_a_fork_that_fails_does_not_free_the_folder(tmp_path: Path) -> None:
    """A data worker on its way out, through the ``with`` of its parent."""
    parent = os.getpid()
    try:
        with folder_lock(tmp_path):
            if os.fork() == 0:
                raise KeyError
            os.wait()
            assert (tmp_path / '.lock').exists()
    finally:
        if os.getpid() != parent:
            os._exit(0)


def test_a_training_that_failed_makes_room_for_the_next_one(tmp_path: Path) -> None:
    failed = runner_of(tmp_path, lambda weight, done: weight.mean() * float('nan'))
    with pytest.raises(DivergedError):
        failed.train()
    runner_of(tmp_path).train()
    assert not (tmp_path / '.lock').exists()


def test_the_second_run_that_writes_labels_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    pytest.importorskip('pydensecrf')
    masks = str(home / 'shapes' / 'SegmentationClass')
    with folder_lock(tmp_path / 'out'):
        assert label(home, tmp_path / 'out') == 1
        assert 'out: another run is at work there' in capfd.readouterr().err
        words = ['refine', 'crf', 'shapes', masks, '--split', 'train', '--out', str(tmp_path / 'out'), '--jobs', '1']
        assert main(words) == 1
        assert 'out: another run is at work there' in capfd.readouterr().err
        assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.lock']


@pytest.mark.parametrize('command', ['predict', 'overlays', 'compare'])
def test_pictures_are_written_by_one_run_and_into_its_folder(
    command: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    monkeypatch.setattr('sipe_mmseg.apis.cam_comparison.method_names', lambda: ['GradCAM'])
    pictures = tmp_path / 'out' / 'pred' if command == 'predict' else tmp_path / 'out'
    words = {
        'predict': [home / 'shapes' / 'JPEGImages', '--weights', home / 'one.pth', '--out-dir', tmp_path / 'out'],
        'overlays': [home / 'one.pth', '--out', pictures],
        'compare': [home / 'one.pth', '--out', pictures, '--methods', 'GradCAM'],
    }
    line = list(map(str, [command, home / 'config.py', *words[command]]))
    with folder_lock(pictures):
        assert main(line) == 1
        assert f'{pictures}: another run is at work there' in capfd.readouterr().err
    (tmp_path / 'elsewhere').mkdir()
    (pictures / 'sub').symlink_to(tmp_path / 'elsewhere')
    assert main(line) == 1
    assert f'{pictures}/sub: a link to {tmp_path}/elsewhere' in capfd.readouterr().err
    assert [path for path in (tmp_path / 'out').rglob('*') if path.is_file()] == []


# The real thing -------------------------------------------------------------------------------------------------------


def run_command(*words: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = (
        'import resource, sys\n'
        'from sipe_mmseg_cli.main import main\n'
        'import sipe_mmseg.apis, mmseg.apis\n'
        'limit = int(sys.argv[1])\n'
        'if limit:\n'
        "    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        '    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))\n'
        'sys.exit(main(sys.argv[2:]))\n'
    )
    path = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, words)],
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


POISON = """
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Poison(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and get_rank() == 1:
            runner.model.module.decode_head.loss_gsc.loss_weight = float('nan')
"""


@pytest.mark.slow
def test_one_of_two_processes_diverges(home: Path, tmp_path: Path) -> None:
    (tmp_path / 'poison.py').write_text(POISON)
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{home}/config.py'\n"
        "custom_imports = dict(imports=['sipe_mmseg', 'poison'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='Poison')]\n"
        'train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False)\n'
    )
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2', f'--master-port={port}']
    command += ['-m', 'sipe_mmseg', 'train', str(tmp_path / 'config.py'), '--launcher=pytorch']
    command += ['--work-dir', str(tmp_path / 'run')]
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'SHAPES_ROOT': str(home / 'shapes'),
    }
    environment['PYTHONPATH'] = os.pathsep.join([str(REPOSITORY), str(tmp_path), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 1
    assert 'iteration 3: the loss is not finite' in done.stderr, done.stderr[-3000:]
    assert done.stderr.count('JPEGImages/train_000') == 1, 'the one image of the process that diverged'
    assert f'The last good checkpoint is {tmp_path}/run/epoch_1.pth' in done.stderr
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='uses /proc')
def test_a_training_without_memory_and_one_that_diverges(home: Path, tmp_path: Path) -> None:
    env = {'SHAPES_ROOT': str(home / 'shapes')}
    words = ['train', home / 'config.py', '--work-dir', tmp_path / 'run', '--cfg-options']
    small = ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0']
    small.append('train_dataloader.persistent_workers=False')
    done = run_command(250_000_000, *words, *small, 'train_dataloader.batch_size=4', env=env)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith('this machine has not enough memory'), done.stderr[-2000:]
    assert 'Traceback' not in done.stderr
    done = run_command(0, *words, *small, 'optim_wrapper.optimizer.lr=1e30', env=env)
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr[-2000:]
    assert 'not finite' in done.stderr and 'JPEGImages/train_000' in done.stderr
    assert not list((tmp_path / 'run').glob('*.pth')), 'weights of 1e30 are no checkpoint worth keeping'
