"""CAMVisualizationHook: which pictures it draws when, and that the training does not notice it."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from PIL import Image
from torch import nn

from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool
from sipe_mmseg.visualization import CAMVisualizationHook

REPOSITORY = Path(__file__).parents[2]
ON = dict(default_hooks__maps__type='CAMVisualizationHook')
BuildRunner = Callable[..., Runner]


def pictures(work_dir: Path) -> dict[str, list[int]]:
    """Steps of each image that a run has drawn."""
    found: dict[str, list[int]] = {}
    for path in work_dir.glob('*/vis_data/vis_image/maps_*.png'):
        name, _, step = path.stem.removeprefix('maps_').rpartition('_')
        found.setdefault(name, []).append(int(step))
    return {name: sorted(steps) for name, steps in sorted(found.items())}


def weights(path: Path) -> dict[str, torch.Tensor]:
    # The file is our own, written a moment ago; what loads strangers' files is tested in test_compat.py.
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_training_is_the_same_bit_for_bit(build_runner: BuildRunner, tmp_path: Path) -> None:
    build_runner(tmp_path / 'without').train()
    build_runner(tmp_path / 'with', **ON).train()
    assert pictures(tmp_path / 'without') == {}
    steps = [0, 2, 4]  # before the training and after its two epochs
    assert pictures(tmp_path / 'with') == dict(val_0000=steps, val_0001=steps, val_0003=steps, val_0004=steps)
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        assert_same_weights(tmp_path / 'without' / name, tmp_path / 'with' / name)
    folder = next((tmp_path / 'with').glob('*/vis_data/vis_image'))
    first, last = (np.asarray(Image.open(folder / f'maps_val_0004_{step}.png')).astype(int) for step in (0, 4))
    assert first.shape[1] > 4 * first.shape[0]  # seven pictures side by side
    tile = first.shape[1] // 7
    assert np.array_equal(first[40:120, 10:tile], last[40:120, 10:tile])  # the image
    assert np.abs(first[40:120] - last[40:120]).max() > 20  # its maps


def test_by_iterations_without_validation_and_chosen_images(build_runner: BuildRunner, tmp_path: Path) -> None:
    options = dict(by_epoch=False, interval=3, image_ids=['val_0002', 'val_0001'])
    options = {f'default_hooks__maps__{name}': value for name, value in options.items()}
    build_runner(tmp_path, **ON, **options, val_cfg=None, val_dataloader=None, val_evaluator=None).train()
    assert pictures(tmp_path) == dict(val_0001=[0, 3, 4], val_0002=[0, 3, 4])


def test_pictures_arrive_in_tensorboard(build_runner: BuildRunner, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator', reason='TensorBoard is optional, and not installed'
    )
    backend = {'visualizer.vis_backends.0.type': 'TensorboardVisBackend'}
    runner = build_runner(tmp_path, **ON, default_hooks__maps__num=2, train_cfg__max_epochs=1, **backend)
    runner.train()
    (folder,) = tmp_path.glob('*/vis_data')
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.IMAGES: 0})
    events.Reload()
    assert sorted(events.Tags()['images']) == ['maps_val_0000', 'maps_val_0004']
    written = events.Images('maps_val_0004')
    assert [picture.step for picture in written] == [0, 2]
    for picture in written:
        assert picture.encoded_image_string.startswith(b'\x89PNG')
        assert picture.width > 4 * picture.height > 400


class Noisy(nn.Module):
    """A model whose validation draws random numbers of every kind; its norm stays in evaluation mode in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3).eval()
        self.seen: list[bool] = []

    def val_step(self, data: dict) -> list[str]:
        assert not torch.is_grad_enabled()
        self.seen.append(self.training or self.norm.training)
        random.random(), np.random.rand(), torch.rand(1)
        return ['sample']


class Folder(BaseDataset):
    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self.data_list = [dict(img_path=str(path), img_id=f'{path.parent.name}/{path.stem}') for path in paths]

    def full_init(self) -> None:
        self._fully_initialized = True

    def __len__(self) -> int:
        return len(self.data_list)

    def __getitem__(self, index: int) -> dict:
        np.random.rand()
        return self.data_list[index]

    def get_data_info(self, index: int) -> dict:
        return dict(self.data_list[index])


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """What the hook knows of a Runner, before the first of 7 iterations."""
    paths = [tmp_path / 'cats' / f'{number:02}.png' for number in range(11)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.new('RGB', (4, 4)).save(path)
    loader = SimpleNamespace(dataset=Folder(paths))
    drawn: list[tuple[str, int]] = []
    return SimpleNamespace(
        model=Noisy(),
        val_loop=SimpleNamespace(dataloader=loader),
        val_dataloader=loader,
        iter=0,
        max_iters=7,
        drawn=drawn,
        visualizer=SimpleNamespace(add_datasample=lambda name, image, sample, step: drawn.append((name, step))),
    )


def states() -> list[Any]:
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


def test_modes_and_random_numbers_are_left_alone(runner: Any) -> None:
    before = states()
    CAMVisualizationHook().before_train(runner)
    assert len(runner.model.seen) == 4
    assert not any(runner.model.seen)
    assert runner.model.training and not runner.model.norm.training
    assert states() == before


def test_also_when_drawing_fails(runner: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError('disk full')

    runner.visualizer.add_datasample = fail
    before = states()
    with pytest.raises(OSError, match='disk full'):
        CAMVisualizationHook().before_train(runner)
    assert runner.model.training and not runner.model.norm.training
    assert states() == before


@pytest.mark.parametrize(
    ('num', 'expected'),
    [(1, [0]), (2, [0, 10]), (3, [0, 5, 10]), (4, [0, 3, 7, 10]), (11, list(range(11))), (99, list(range(11)))],
)
def test_images_are_evenly_spread_and_named_without_folders(runner: Any, num: int, expected: list[int]) -> None:
    CAMVisualizationHook(num=num).before_train(runner)
    assert runner.drawn == [(f'maps_cats_{place:02}', 0) for place in expected]


def test_a_training_that_goes_on_draws_nothing_at_its_start(runner: Any) -> None:
    runner.iter = 3
    hook = CAMVisualizationHook(interval=2, by_epoch=False, num=1)
    hook.before_train(runner)
    assert runner.drawn == []
    for runner.iter in range(3, 7):
        hook.after_train_iter(runner, 0)
    assert [step for _, step in runner.drawn] == [4, 6, 7]


def test_only_the_first_process_draws_and_it_asks_for_the_model_inside(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    monkeypatch.setattr('mmengine.dist.utils.get_dist_info', lambda group=None: (1, 2))
    CAMVisualizationHook().before_train(runner)
    assert runner.drawn == []
    assert runner.model.seen == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(interval=0), 'interval must be at least 1, not 0'),
        (dict(num=0), 'num must be at least 1, not 0'),
        (dict(image_ids=[]), 'image_ids is empty'),
    ],
)
def test_wrong_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='CAMVisualizationHook', **options))


def test_an_unknown_image_is_named_before_the_training(runner: Any) -> None:
    with pytest.raises(ValueError, match='no image tiger among the 11 of the data set; the first ones are cats/00, ca'):
        CAMVisualizationHook(image_ids='tiger').before_train(runner)


def test_no_data_set(runner: Any) -> None:
    runner.val_loop, runner.cfg = None, {}
    with pytest.raises(ValueError, match='neither val_dataloader nor test_dataloader'):
        CAMVisualizationHook().before_train(runner)


def test_priority_is_that_of_a_hook_that_looks_on() -> None:
    assert isinstance(HOOKS.build(dict(type='CAMVisualizationHook')), Hook)
    assert CAMVisualizationHook.priority == 'LOW'


def test_show_dir_of_mmsegs_test_tool(
    build_runner: BuildRunner, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(train_cfg__max_epochs=1, val_cfg=None, val_dataloader=None, val_evaluator=None)
    build_runner(tmp_path / 'run', **options).train()
    arguments = [tiny_config, tmp_path / 'run' / 'epoch_1.pth', '--work-dir', tmp_path / 'test']
    arguments += ['--show-dir', tmp_path / 'shown', '--cfg-options', 'default_hooks.visualization.interval=1']
    # One process has one visualizer a name.
    arguments += [f'visualizer.name={tmp_path.name}', f'experiment_name={tmp_path.name}']
    monkeypatch.setenv('LOCAL_RANK', '0')  # the tool sets it
    run_mmseg_tool('test.py', [str(argument) for argument in arguments])
    shown = sorted((tmp_path / 'shown' / 'vis_data' / 'vis_image').iterdir())
    # The step at the end of a name is 0, or counts the images in the onedl fork.
    assert [path.name.rpartition('_')[0] for path in shown] == [f'test_val_{number:04}.jpg' for number in range(5)]
    width, height = Image.open(shown[0]).size
    assert width > 4 * height


def run_processes(*arguments: Any) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}
    environment |= {'PORT': port, 'PYTHONPATH': os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])}
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, f'{done.stdout[-2000:]}\n{done.stderr[-4000:]}'


@pytest.mark.slow
def test_two_processes_train_as_without_it(tiny_config: Path, tmp_path: Path) -> None:
    train = ['bash', REPOSITORY / 'tools' / 'dist_train.sh', tiny_config, 2, '--work-dir']
    options = ['--cfg-options', 'train_dataloader.batch_size=2']
    run_processes(*train, tmp_path / 'without', *options)
    on = ['default_hooks.maps.type=CAMVisualizationHook', 'default_hooks.maps.by_epoch=False']
    run_processes(*train, tmp_path / 'with', *options, *on)
    steps = [0, 1, 2, 3, 4]
    assert pictures(tmp_path / 'with') == dict(val_0000=steps, val_0001=steps, val_0003=steps, val_0004=steps)
    assert_same_weights(tmp_path / 'without' / 'epoch_2.pth', tmp_path / 'with' / 'epoch_2.pth')
