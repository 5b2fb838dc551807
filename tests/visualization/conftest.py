"""What the tests of the pictures share: an image, predictions, a backend that remembers, a tiny training."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import LabelData, PixelData
from mmengine.visualization import BaseVisBackend
from mmseg.structures import SegDataSample

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes

CONFIG = """
_base_ = '{configs}/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
crop_size = (64, 64)
model = dict(data_preprocessor=dict(size=crop_size), decode_head=dict(side_channels=[8, 8, 16, 16]))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=48, max_long=80),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1))
"""
NUM_TRAIN = 8


@pytest.fixture
def image() -> np.ndarray:
    """RGB image of 24 rows of 30."""
    return np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


@pytest.fixture
def classes() -> list[str]:
    return ['background', 'cat', 'dog', 'bird']


@pytest.fixture
def palette() -> list[tuple[int, int, int]]:
    return [(0, 0, 0), (200, 10, 20), (30, 40, 250), (20, 240, 30)]


@pytest.fixture
def make_sample() -> Callable[..., SegDataSample]:
    """Makes a sample as ``SIPESegmentor.pack`` does, with maps of noise; its top left pixel has no seed."""

    def make(size: tuple[int, int], classes: Sequence[int] = (1, 3)) -> SegDataSample:
        generator = torch.Generator().manual_seed(1)
        keys = torch.tensor([0, *classes])

        def indices() -> torch.Tensor:
            return keys[torch.randint(len(keys), (1, *size), generator=generator)]

        seeds = indices()
        seeds[0, 0, 0] = 255
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        sample.set_data(
            dict(
                pred_sem_seg=PixelData(data=indices()),
                gt_sem_seg=PixelData(data=indices()),
                localization=PixelData(
                    is_cam=torch.rand(len(keys), *size, generator=generator),
                    cam=torch.rand(len(keys) - 1, *size, generator=generator),
                    seeds=seeds,
                    assignment=indices().to(torch.uint8),
                ),
                present=LabelData(classes=keys[1:], scores=torch.rand(3), given=torch.tensor(True)),
            )
        )
        return sample

    return make


class RememberingBackend(BaseVisBackend):
    """Keeps the pictures that it gets: (name, step, picture)."""

    def __init__(self) -> None:
        super().__init__('')
        self.pictures: list[tuple[str, int, np.ndarray]] = []

    experiment = None

    def _init_env(self) -> None:
        pass

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self.pictures.append((name, step, image))


@pytest.fixture
def make_backend() -> type[RememberingBackend]:
    return RememberingBackend


@pytest.fixture(scope='module')
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, ShapesSettings(num_train=NUM_TRAIN, num_val=5, size=64))
    return root


@pytest.fixture
def tiny_config(shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Config of a training of four iterations, on the CPU with one thread."""
    monkeypatch.setenv('SHAPES_ROOT', str(shapes_root))
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG.format(configs=Path(__file__).parents[2] / 'configs'))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield path
    torch.set_num_threads(threads)


@pytest.fixture
def build_runner(tiny_config: Path) -> Callable[..., Runner]:
    """Builds a Runner as ``tools/train.py`` does; options as in ``--cfg-options``, with ``__`` for dots."""

    def build(work_dir: Path, **options: Any) -> Runner:
        cfg = Config.fromfile(tiny_config)
        cfg.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
        cfg.work_dir = str(work_dir)
        # One process has one visualizer a name, and a second run would get that of the first.
        cfg.experiment_name = cfg.visualizer.name = f'{work_dir.parent.name}_{work_dir.name}'
        return Runner.from_cfg(cfg)

    return build
