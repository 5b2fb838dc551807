"""IRN's shipped configs, and whole runs on the built-in set: training, the checkpoint, resuming, refining."""

import json
import os
import re
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
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from sipe_mmseg.datasets.cam_files import write_cam
from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.shapes import PALETTE, ShapesSettings, write_shapes

CONFIGS = Path(__file__).parents[1] / 'configs'
SHIPPED = sorted((CONFIGS / 'irn').glob('*.py'))
SHAPES = CONFIGS / 'irn' / 'irn_r18_1xb16-6e_shapes-160x160.py'
NUM_TRAIN = 4


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Configs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_one_training_step(path: Path) -> None:
    """Only the branches get a gradient, and each of their parameters does."""
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None
    cfg.model.data_preprocessor.size = (96, 128)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    labels = torch.randint(0, 3, (1, 6, 8), generator=torch.Generator().manual_seed(0))
    labels = torch.where(labels == 2, 255, labels).repeat_interleave(16, 1).repeat_interleave(16, 2)
    image = torch.randint(0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    samples = [SegDataSample(), SegDataSample()]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=labels)
    data = model.data_preprocessor(dict(inputs=[image, 255 - image], data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    assert set(losses) == {f'decode.loss_{name}' for name in ('pos', 'neg', 'disp_fg', 'disp_bg')}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == name.startswith('decode_head.'), name
        if parameter.requires_grad:
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_recipe(path: Path) -> None:
    cfg = Config.fromfile(path)
    assert 'clip_grad' not in cfg.optim_wrapper
    assert dict(cfg.optim_wrapper.optimizer) == dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == {'decode_head.displacement': dict(lr_mult=10)}
    assert [hook.type for hook in cfg.custom_hooks] == ['ImagesPerSecondHook', 'MeanDisplacementHook']
    assert cfg.train_dataloader.sampler.type == 'SeededSampler'
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert steps == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomScaleResize',
        'RandomFlip',
        'RandomCropOrPaste',
        'PackImageLevelInputs',
    ]
    assert not any(step.type == 'LoadAnnotations' for step in cfg.test_dataloader.dataset.pipeline)


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small built-in set; IR labels made from its masks, unknown where classes meet; blurred masks as IS-CAM."""
    root = tmp_path_factory.mktemp('irn')
    write_shapes(root / 'shapes', ShapesSettings(num_train=NUM_TRAIN, num_val=1, size=96))
    for path in sorted((root / 'shapes' / 'SegmentationClass').glob('train_*.png')):
        mask = np.array(Image.open(path))
        labels = mask.copy()
        labels[1:][mask[1:] != mask[:-1]] = 255
        labels[:, 1:][mask[:, 1:] != mask[:, :-1]] = 255
        write_label_png(root / 'ir_labels' / path.name, labels, PALETTE)
        present = sorted(set(np.unique(mask).tolist()) - {0})
        scores = [Image.fromarray(np.float32(mask == k)).reduce(8) for k in (0, *present)]
        write_cam(root / 'cams' / f'{path.stem}.npz', np.array(present), np.stack(scores), mask.shape)
    return root


def build_runner(root: Path, work_dir: Path, **options: Any) -> Runner:
    cfg = Config.fromfile(SHAPES)
    cfg.merge_from_dict(
        {
            'model.backbone.init_cfg': None,
            'model.backbone.base_channels': 8,
            'model.backbone.stem_channels': 8,
            'model.decode_head.in_channels': [8, 8, 16, 32, 64],
            'model.data_preprocessor.size': (96, 96),
            'model.test_cfg.min_size': 96,
            'train_dataloader.dataset.data_root': str(root / 'shapes'),
            'train_dataloader.dataset.pseudo_labels': str(root / 'ir_labels'),
            'train_dataloader.dataset.pipeline.4.crop_size': (96, 96),
            'train_dataloader.batch_size': 2,
            'test_dataloader.dataset.data_root': str(root / 'shapes'),
            'test_dataloader.dataset.pipeline.2.cam_dir': str(root / 'cams'),
            'train_cfg.max_epochs': 1,
            'default_hooks.logger.interval': 1,
            **{name.replace('__', '.'): value for name, value in options.items()},
        }
    )
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = cfg.visualizer.name = f'{work_dir.parent.name}_{work_dir.name}'
    return Runner.from_cfg(cfg)


@pytest.fixture(scope='module')
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work_dir of a run of two iterations."""
    work_dir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.device.utils.DEVICE', 'cpu')
        build_runner(root, work_dir).train()
    return work_dir


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    # The file is our own, written a moment ago; what loads strangers' files is tested in test_compat.py.
    return torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict']


def logged(work_dir: Path) -> list[dict[str, Any]]:
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [record for record in map(json.loads, path.read_text().splitlines()) if 'loss' in record]


def test_the_log_has_every_term_and_their_sum(trained: Path) -> None:
    records = logged(trained)
    assert len(records) == NUM_TRAIN // 2
    for record in records:
        terms = [record[f'decode.loss_{name}'] for name in ('pos', 'neg', 'disp_fg', 'disp_bg')]
        assert record['loss'] == pytest.approx(sum(terms), rel=1e-4)
        assert np.isfinite(terms).all()


def test_the_checkpoint_holds_the_mean_displacement_of_its_own_weights(root: Path, trained: Path) -> None:
    weights = state(trained / 'epoch_1.pth')
    runner = build_runner(root, trained / 'again')
    runner.model.load_state_dict(weights)
    runner.model.eval()
    means = []
    for path in sorted((root / 'shapes' / 'JPEGImages').glob('train_*.jpg')):
        image = np.array(Image.open(path)).astype(np.float32)[:96, :96]
        image = (image - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
        canvas = torch.zeros(1, 3, 96, 96)
        canvas[0, :, : image.shape[0], : image.shape[1]] = torch.from_numpy(np.float32(image)).permute(2, 0, 1)
        with torch.no_grad():
            features = runner.model.decode_head.displacement(runner.model.extract_feat(canvas))
        means.append(features.mean(dim=(0, 2, 3)))
    expected = torch.stack(means).mean(dim=0)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(weights['decode_head.mean_displacement'], expected, rtol=1e-3, atol=1e-4)


def test_resuming_a_finished_run_changes_nothing(root: Path, trained: Path) -> None:
    before = (trained / 'epoch_1.pth').read_bytes()
    runner = build_runner(root, trained, resume=True, visualizer__name='resumed')
    runner.train()
    assert (runner.epoch, runner.iter) == (1, NUM_TRAIN // 2)
    assert torch.equal(
        runner.model.decode_head.mean_displacement, state(trained / 'epoch_1.pth')['decode_head.mean_displacement']
    )
    assert (trained / 'epoch_1.pth').read_bytes() == before


def test_a_resumed_run_ends_as_an_uninterrupted_one(root: Path, tmp_path: Path) -> None:
    build_runner(root, tmp_path / 'whole', train_cfg__max_epochs=2).train()
    whole = tmp_path / 'whole'
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'epoch_1.pth').write_bytes((whole / 'epoch_1.pth').read_bytes())
    (tmp_path / 'broken' / 'last_checkpoint').write_text(str(tmp_path / 'broken' / 'epoch_1.pth'))
    build_runner(root, tmp_path / 'broken', train_cfg__max_epochs=2, resume=True).train()
    one, other = state(whole / 'epoch_2.pth'), state(tmp_path / 'broken' / 'epoch_2.pth')
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert other['decode_head.mean_displacement'].abs().max() > 0
    # Before the end there is none.
    assert state(whole / 'epoch_1.pth')['decode_head.mean_displacement'].tolist() == [0, 0]


def test_iteration_based_training_measures_it_too(root: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = dict(
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3),
        param_scheduler=[],
        default_hooks__checkpoint__by_epoch=False,
        default_hooks__checkpoint__interval=2,
        log_processor__by_epoch=False,
    )
    build_runner(root, tmp_path / 'run', **options).train()
    assert state(tmp_path / 'run' / 'iter_2.pth')['decode_head.mean_displacement'].tolist() == [0, 0]
    assert state(tmp_path / 'run' / 'iter_3.pth')['decode_head.mean_displacement'].abs().max() > 0


def test_refined_labels_are_scored_by_mmsegs_metric(root: Path, trained: Path, tmp_path: Path) -> None:
    # Nothing holds a long walk back yet, so a single step: the blurred masks must come out much as they went in.
    options = dict(load_from=str(trained / 'epoch_1.pth'), model__test_cfg__exp_times=0)
    assert 60 < build_runner(root, tmp_path / 'test', **options).test()['mIoU'] < 100


def test_labels_that_are_no_class_name_their_file(root: Path, tmp_path: Path) -> None:
    for path in (root / 'ir_labels').glob('*.png'):
        labels = np.array(Image.open(path))
        labels[:] = np.where(labels == 255, 255, 77)
        write_label_png(tmp_path / 'labels' / path.name, labels, PALETTE)
    options = {'train_dataloader__dataset__pseudo_labels': str(tmp_path / 'labels')}
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / 'labels')) + r'.*train_.*\.png.* 77'):
        build_runner(root, tmp_path / 'run', **options).train()


def test_a_missing_cam_file_names_itself(root: Path, trained: Path, tmp_path: Path) -> None:
    cams = tmp_path / 'cams'
    cams.mkdir()
    options = {'test_dataloader__dataset__pipeline__2__cam_dir': str(cams)}
    runner = build_runner(root, tmp_path / 'test', load_from=str(trained / 'epoch_1.pth'), **options)
    with pytest.raises(FileNotFoundError, match=r'train_0000\.npz: no such CAM file'):
        runner.test()


@pytest.mark.slow
def test_two_processes_train_and_measure_as_one(root: Path, tmp_path: Path) -> None:
    """The losses' counts of pairs are those of both processes, and so is the mean displacement."""
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = {str(SHAPES)!r}
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(base_channels=8, stem_channels=8, init_cfg=None),
    decode_head=dict(in_channels=[8, 8, 16, 32, 64]),
)
train_pipeline = _base_.train_pipeline
train_pipeline[4]['crop_size'] = (96, 96)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_root={str(root / 'shapes')!r}, pseudo_labels={str(root / 'ir_labels')!r}, pipeline=train_pipeline
    ),
)
test_dataloader = test_evaluator = test_cfg = None
train_cfg = dict(max_epochs=2)
""")
    tools = CONFIGS.parent / 'tools'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}
    environment['PYTHONPATH'] = os.pathsep.join([str(CONFIGS.parent), os.environ.get('PYTHONPATH', '')])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        environment['PORT'] = str(free.getsockname()[1])
    halves = ['--cfg-options', 'train_dataloader.batch_size=1']
    for command in (
        [sys.executable, tools / 'train.py', config, '--work-dir', tmp_path / 'one'],
        ['bash', tools / 'dist_train.sh', config, '2', '--work-dir', tmp_path / 'two', *halves],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-6000:]
    one, two = (state(tmp_path / name / 'epoch_2.pth') for name in ('one', 'two'))
    first = state(tmp_path / 'one' / 'epoch_1.pth')
    assert max(float((one[name] - first[name]).abs().max()) for name in one) > 1e-3
    assert one['decode_head.mean_displacement'].abs().max() > 1e-3
    for name, weight in two.items():
        torch.testing.assert_close(weight, one[name], rtol=0, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}')
