"""Whole runs on two dozen small pictures: training, resuming and scoring, in one process and in two.

Everything that starts a process of its own, or trains for longer, is marked ``slow``.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, ImageDraw

from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.engine.mmseg_tools import find_mmseg_tool

REPOSITORY = Path(__file__).parents[1]
CONFIGS = REPOSITORY / 'configs'
NUM_IMAGES = 24
# VOC's class index, name and colour of what is drawn.
KINDS = ((3, 'bird', (220, 60, 40)), (8, 'cat', (50, 190, 80)), (15, 'person', (60, 90, 220)))

TINY_CONFIG = """
_base_ = [
    '{configs}/_base_/models/sipe_r50.py',
    '{configs}/_base_/datasets/voc12.py',
    '{configs}/_base_/default_runtime.py',
    '{configs}/_base_/schedules/schedule_5e.py',
]
crop_size = (64, 64)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(depth=18, init_cfg=None),
    decode_head=dict(in_channels=[64, 128, 256, 512], side_channels=[8, 8, 16, 16]),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=40, max_long=96),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(ann_file='train.txt'))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=-1))
"""


@pytest.fixture(scope='module')
def voc_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of coloured discs in VOC's layout, with XML and masks; ``train.txt`` lists them."""
    root = tmp_path_factory.mktemp('voc')
    for folder in ('JPEGImages', 'Annotations', 'SegmentationClass'):
        (root / folder).mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        width, height = rng.integers(56, 90, size=2)
        ground = rng.integers(110, 150, size=(height, width, 3), dtype=np.uint8)
        image, mask = Image.fromarray(ground), Image.new('L', (int(width), int(height)))
        present = rng.permutation(3)[: rng.integers(1, 3)]
        for place, kind in enumerate(present):
            index, _, colour = KINDS[kind]
            left, top = place * width // 2 + rng.integers(0, 6), rng.integers(0, height - 32)
            disc = [int(left), int(top), int(left) + 24, int(top) + 24]
            ImageDraw.Draw(image).ellipse(disc, fill=colour)
            ImageDraw.Draw(mask).ellipse(disc, fill=index)
        objects = ''.join(f'<object><name>{KINDS[kind][1]}</name></object>' for kind in present)
        image.save(root / 'JPEGImages' / f'{number:04}.jpg', quality=95)
        (root / 'Annotations' / f'{number:04}.xml').write_text(f'<annotation>{objects}</annotation>')
        write_label_png(root / 'SegmentationClass' / f'{number:04}.png', np.asarray(mask), voc_palette(21))
    (root / 'train.txt').write_text(''.join(f'{number:04}\n' for number in range(NUM_IMAGES)))
    return root


@pytest.fixture(autouse=True)
def voc12_root_variable(voc_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VOC12_ROOT', str(voc_root))


@pytest.fixture(scope='module')
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(TINY_CONFIG.format(configs=CONFIGS))
    return path


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is bit for bit the same is so on the CPU; and small pictures are slower on several threads."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class RecordRates(Hook):
    """Learning rate of the backbone and of the head, as each iteration used them."""

    def __init__(self) -> None:
        self.rates: list[tuple[float, float]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        rates = [group['lr'] for group in runner.optim_wrapper.optimizer.param_groups]
        self.rates.append((min(rates), max(rates)))


def build_runner(config: Path, work_dir: Path, hooks: list[Hook] | None = None, **options: Any) -> Runner:
    """A Runner as ``tools/train.py`` builds it; ``options`` as in ``--cfg-options``, with ``__`` for dots."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    cfg.work_dir = str(work_dir)
    # One process has one visualizer a name, and the logs of the first run would get what the second one logs.
    cfg.experiment_name = cfg.visualizer.name = f'{work_dir.parent.name}_{work_dir.name}'
    runner = Runner.from_cfg(cfg)
    for hook in hooks or []:
        runner.register_hook(hook)
    return runner


def run_tool(script: Path, *arguments: Any) -> str:
    """Run a script on the CPU and return what it prints; it must end well."""
    interpreter = sys.executable if script.suffix == '.py' else 'bash'
    command = [interpreter, str(script), *map(str, arguments)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}
    environment['PYTHONPATH'] = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        environment['PORT'] = str(free.getsockname()[1])
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, f'{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}'
    return done.stdout + done.stderr


def logged(work_dir: Path, key: str = 'loss') -> list[Any]:
    """All values of a key in the logs under a work_dir, in the order of writing."""
    lines = [
        line for path in sorted(work_dir.glob('*/vis_data/scalars.json')) for line in path.read_text().splitlines()
    ]
    return [record[key] for record in map(json.loads, lines) if key in record]


def scored(work_dir: Path) -> dict[str, Any]:
    """The figures that ``tools/test.py`` leaves in its work_dir."""
    (path,) = work_dir.glob('*/*.json')
    figures = json.loads(path.read_text())
    return {name: value for name, value in figures.items() if name not in ('time', 'data_time')}


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The model's weights in a checkpoint of MMEngine."""
    # The file is our own, written a moment ago; what loads strangers' files is tested in test_compat.py.
    return torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict']


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differing


def label_maps(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob('*.png'))}


def test_a_rerun_is_the_same_run_whatever_the_number_of_workers(tiny_config: Path, tmp_path: Path) -> None:
    for name, workers in (('a', 0), ('b', 2)):
        maps = str(tmp_path / name / 'maps')
        options = dict(train_dataloader__num_workers=workers, val_evaluator__output_dir=maps)
        build_runner(tiny_config, tmp_path / name, **options).train()
    assert len(logged(tmp_path / 'a')) == 2 * NUM_IMAGES // 8
    for key in ('loss', 'loss_cls', 'loss_gsc', 'mIoU'):
        assert logged(tmp_path / 'a', key) == logged(tmp_path / 'b', key), key
    assert_same_weights(tmp_path / 'a' / 'epoch_2.pth', tmp_path / 'b' / 'epoch_2.pth')
    one, other = label_maps(tmp_path / 'a' / 'maps'), label_maps(tmp_path / 'b' / 'maps')
    assert len(one) == NUM_IMAGES
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_poly_schedule_follows_max_epochs(tiny_config: Path, tmp_path: Path) -> None:
    """``--cfg-options train_cfg.max_epochs=3`` is all there is to change; the file says 2."""
    recorded = RecordRates()
    options = dict(train_cfg__max_epochs=3, val_cfg=None, val_dataloader=None, val_evaluator=None)
    build_runner(tiny_config, tmp_path, [recorded], **options).train()
    total = 3 * NUM_IMAGES // 8
    formula = [0.02 * (1 - step / total) ** 0.9 for step in range(total)]
    assert [rate for rate, _ in recorded.rates] == pytest.approx(formula, rel=1e-9)
    assert [rate for _, rate in recorded.rates] == pytest.approx([10 * rate for rate in formula], rel=1e-9)
    assert logged(tmp_path, 'base_lr') == pytest.approx(formula, rel=1e-9)
    # And the rest of what the log is for.
    for key in ('loss', 'loss_cls', 'loss_gsc', 'lr', 'images_per_second'):
        assert len(logged(tmp_path, key)) == total, key
    (text,) = tmp_path.glob('*/*.log')
    assert 'images_per_second' in text.read_text()


def test_documented_option_writes_tensorboard_files(tiny_config: Path, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator', reason='TensorBoard is optional, and not installed'
    )
    runtime = (CONFIGS / '_base_' / 'default_runtime.py').read_text()
    name, value = re.search(r'--cfg-options (visualizer\S+)=(\S+)', runtime).groups()
    options = {name: value}
    options |= dict(train_cfg__max_epochs=1, val_cfg=None, val_dataloader=None, val_evaluator=None)
    build_runner(tiny_config, tmp_path, **options).train()
    (folder,) = tmp_path.glob('*/vis_data')
    events = event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert [event.step for event in events.Scalars('loss_gsc')] == [1, 2, 3]


def test_tools_of_mmseg_are_found_or_the_error_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_mmseg_tool('train.py').is_file()
    assert find_mmseg_tool('test.py').is_file()
    with pytest.raises(FileNotFoundError, match=r'comes without tools/fly\.py: looked in .*mmseg.*\.mim'):
        find_mmseg_tool('fly.py')


@pytest.fixture(scope='module')
def trained(voc_root: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work_dir of an uninterrupted run of mmseg's own, unchanged ``tools/train.py``."""
    work_dir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('VOC12_ROOT', str(voc_root))
        run_tool(find_mmseg_tool('train.py'), tiny_config, '--work-dir', work_dir)
    return work_dir


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(trained: Path, tiny_config: Path, tmp_path: Path) -> None:
    # What a run that breaks down in its second epoch leaves behind.
    shutil.copy(trained / 'epoch_1.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    printed = run_tool(find_mmseg_tool('train.py'), tiny_config, '--work-dir', tmp_path, '--resume')
    assert 'resumed epoch: 1' in printed
    for key in ('loss', 'loss_cls', 'loss_gsc'):
        assert logged(tmp_path, key) == logged(trained, key)[NUM_IMAGES // 8 :]
    assert logged(tmp_path, 'mIoU') == logged(trained, 'mIoU')
    assert_same_weights(trained / 'epoch_2.pth', tmp_path / 'epoch_2.pth')


@pytest.mark.slow
def test_our_tools_do_what_those_of_mmseg_do(trained: Path, tiny_config: Path, tmp_path: Path) -> None:
    run_tool(REPOSITORY / 'tools' / 'train.py', tiny_config, '--work-dir', tmp_path)
    assert logged(tmp_path) == logged(trained)
    assert_same_weights(trained / 'epoch_2.pth', tmp_path / 'epoch_2.pth')
    run_tool(REPOSITORY / 'tools' / 'test.py', tiny_config, tmp_path / 'epoch_2.pth', '--work-dir', tmp_path / 'test')
    assert [scored(tmp_path / 'test')['mIoU']] == logged(trained, 'mIoU')


@pytest.mark.slow
def test_mmseg_scores_and_writes_label_maps(trained: Path, tiny_config: Path, voc_root: Path, tmp_path: Path) -> None:
    script, checkpoint = find_mmseg_tool('test.py'), trained / 'epoch_2.pth'
    maps = {}
    for name, options in (('one', []), ('tta', ['--tta'])):
        work_dir, out = tmp_path / name, tmp_path / name / 'maps'
        printed = run_tool(script, tiny_config, checkpoint, *options, '--work-dir', work_dir, '--out', out)
        assert 'picked on the ground truth' in printed
        maps[name] = label_maps(out)
        assert len(maps[name]) == NUM_IMAGES
        for file, labels in maps[name].items():
            truth = Image.open(voc_root / 'SegmentationClass' / file)
            written = Image.open(out / file)
            assert written.size == truth.size
            assert written.mode == 'P'
            assert written.getpalette() is not None
            # Image-level labels are given: nothing but background and the image's own classes.
            assert set(np.unique(labels)) <= set(np.unique(truth)) | {0}
    # Without --tta the figure is that of the validation after training.
    assert [scored(tmp_path / 'one')['mIoU']] == logged(trained, 'mIoU')
    assert any(not np.array_equal(maps['one'][file], maps['tta'][file]) for file in maps['one'])


@pytest.mark.slow
def test_two_processes_train_as_one(tiny_config: Path, tmp_path: Path) -> None:
    one, two = tmp_path / 'one', tmp_path / 'two'
    options = ['--cfg-options', 'train_cfg.max_epochs=3', 'train_cfg.val_interval=9', 'optim_wrapper.optimizer.lr=0.1']
    train = REPOSITORY / 'tools' / 'train.py'
    run_tool(train, tiny_config, '--work-dir', one, *options, 'train_dataloader.batch_size=16')
    run_tool(REPOSITORY / 'tools' / 'dist_train.sh', tiny_config, 2, '--work-dir', two, *options)
    # The log of several processes has the losses of the first one, so the weights must tell.
    assert len(logged(one)) == len(logged(two)) == 3
    first, last = weights(one / 'epoch_1.pth'), weights(one / 'epoch_3.pth')
    assert max(float((last[name] - first[name]).abs().max()) for name in last) > 1e-3
    for name, weight in weights(two / 'epoch_3.pth').items():
        torch.testing.assert_close(weight, last[name], rtol=0, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.slow
@pytest.mark.parametrize('options', [[], ['--tta']])
def test_two_processes_score_as_one(trained: Path, tiny_config: Path, tmp_path: Path, options: list[str]) -> None:
    checkpoint = trained / 'epoch_2.pth'
    one, two = [*options, '--work-dir', tmp_path / 'one'], [*options, '--work-dir', tmp_path / 'two']
    run_tool(REPOSITORY / 'tools' / 'test.py', tiny_config, checkpoint, *one)
    run_tool(REPOSITORY / 'tools' / 'dist_test.sh', tiny_config, checkpoint, 2, *two)
    assert scored(tmp_path / 'one') == scored(tmp_path / 'two')
    assert 'mAP' in scored(tmp_path / 'two')


@pytest.mark.slow
def test_two_processes_train_a_backbone_with_norms_on_detached_maps(tiny_config: Path, tmp_path: Path) -> None:
    path = tmp_path / 'convnext.py'
    path.write_text(f"""
_base_ = '{CONFIGS}/sipe/sipe_convnext-tiny_1xb16-5e_voc12aug-512x512.py'
crop_size = (64, 64)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(arch='atto', init_cfg=None),
    decode_head=dict(in_channels=[40, 80, 160, 320]),
)
train_pipeline = {Config.fromfile(tiny_config).train_pipeline}
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(ann_file='train.txt', pipeline=train_pipeline)
)
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
""")
    run_tool(REPOSITORY / 'tools' / 'dist_train.sh', path, 2, '--work-dir', tmp_path / 'run')
    assert len(logged(tmp_path / 'run')) == NUM_IMAGES // 8


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ['convnext-tiny', 'swin-tiny', 'deit-small'])
def test_backbones_of_mmpretrain_learn(tmp_path: Path, tiny_config: Path, voc_root: Path, backbone: str) -> None:
    """From random weights, as no others can be had in a test, the shipped configs learn which colour is which class."""
    config = CONFIGS / 'sipe' / f'sipe_{backbone}_1xb16-5e_voc12aug-512x512.py'
    tiny = Config.fromfile(tiny_config)
    options: dict[str, Any] = dict(
        model__backbone__init_cfg=None,
        model__data_preprocessor__size=tiny.crop_size,
        train_dataloader__batch_size=8,
        train_dataloader__num_workers=0,
        train_dataloader__persistent_workers=False,
        train_dataloader__dataset__ann_file='train.txt',
        train_dataloader__dataset__pipeline=tiny.train_pipeline,
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        train_cfg__max_epochs=20,
        default_hooks__checkpoint__interval=20,
        default_hooks__logger__interval=1,
    )
    build_runner(config, tmp_path, **options).train()
    losses = logged(tmp_path, 'loss_cls')
    # No answer that is the same for all pictures can do better than the entropy of the classes' frequencies.
    annotations = [path.read_text() for path in (voc_root / 'Annotations').iterdir()]
    shares = np.array([np.mean([f'<name>{name}<' in text for text in annotations]) for _, name, _ in KINDS])
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).sum() / 20
    assert losses[0] > 5 * entropy
    assert np.mean(losses[-NUM_IMAGES // 8 :]) < 0.85 * entropy


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="MMEngine's AmpOptimWrapper refuses the CPU; with a GPU: "
    'python tools/train.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py --amp',
)
def test_amp_trains_on_a_gpu(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cuda')
    options = dict(optim_wrapper__type='AmpOptimWrapper', optim_wrapper__loss_scale='dynamic')
    build_runner(tiny_config, tmp_path, **options).train()
    losses = logged(tmp_path)
    assert len(losses) == 2 * NUM_IMAGES // 8
    assert np.isfinite(losses).all()
    assert np.isfinite(logged(tmp_path, 'mIoU')).all()
