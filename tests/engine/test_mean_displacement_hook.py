"""The mean displacement, by hand over pictures on disk; where it is stored; and what is refused before training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.runner import get_priority
from mmseg.registry import DATASETS, HOOKS, MODELS
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from sipe_mmseg.engine.mean_displacement_hook import MeanDisplacementHook

SIZES = ((20, 33), (40, 18), (32, 32), (17, 50), (36, 41))


class Head(nn.Module):
    """Its displacement is the image's first two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean_displacement', torch.tensor([9.0, 9.0]))  # an old one must not matter

    def displacement(self, maps: list[torch.Tensor]) -> torch.Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return maps[0][:, :2]


class Model(nn.Module):
    def __init__(self, **padding: Any) -> None:
        super().__init__()
        normalise = dict(mean=[100, 110, 120], std=[50, 60, 70], bgr_to_rgb=True)
        padding = padding or dict(size=(32, 32))
        self.data_preprocessor = MODELS.build(dict(type='ImageLevelDataPreProcessor', **normalise, **padding))
        self.decode_head = Head()

    def extract_feat(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        return [inputs]


@pytest.fixture
def images(tmp_path: Path) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in SIZES]
    for index, image in enumerate(found):
        Image.fromarray(image).save(tmp_path / f'{index}.png')
    (tmp_path / 'labels.json').write_text(str({f'{i}.png': ['cat'] for i in range(len(found))}).replace("'", '"'))
    return found


def build_runner(root: Path, model: nn.Module, iteration: int = 6, batch_size: int = 2) -> Any:
    """What the hook knows of a Runner with 7 iterations."""
    dataset = DATASETS.build(
        dict(
            type='ImageLevelDataset',
            data_root=str(root),
            labels=dict(json='labels.json'),
            metainfo=dict(classes=('background', 'cat')),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomCropOrPaste', crop_size=8)],
        )
    )
    loader = DataLoader(dataset, batch_size, sampler=DefaultSampler(dataset), drop_last=True)
    return SimpleNamespace(model=model, train_dataloader=loader, iter=iteration, max_iters=7)


def by_hand(images: list[np.ndarray], side: int) -> list[float]:
    """Mean of normalised red and green over top left crops, 0 where the image does not reach."""
    total = np.zeros(2)
    for image in images:
        crop = np.zeros((side, side, 2))
        part = (image[:side, :side, :2] - np.array([100, 110])) / np.array([50, 60])
        crop[: part.shape[0], : part.shape[1]] = part
        total += crop.mean(axis=(0, 1))
    return (total / len(images)).tolist()


@pytest.mark.parametrize('batch_size', [1, 2, 16])
def test_is_the_mean_over_all_pixels_of_all_images(tmp_path: Path, images: list[np.ndarray], batch_size: int) -> None:
    model = Model().train()
    runner = build_runner(tmp_path, model, batch_size=batch_size)
    hook = HOOKS.build(dict(type='MeanDisplacementHook'))
    hook.before_train(runner)
    hook.after_train_iter(runner, 6)
    assert model.decode_head.mean_displacement.tolist() == pytest.approx(by_hand(images, 32), abs=1e-5)
    assert model.training
    assert len(runner.train_dataloader.dataset.pipeline.transforms) == 2  # that of the training is as it was


def test_nothing_is_measured_before_the_last_iteration(tmp_path: Path, images: list[np.ndarray]) -> None:
    model = Model()
    for iteration in range(6):
        MeanDisplacementHook().after_train_iter(build_runner(tmp_path, model, iteration), iteration)
    assert model.decode_head.mean_displacement.tolist() == [9, 9]


def test_other_crops(tmp_path: Path, images: list[np.ndarray]) -> None:
    model = Model(size_divisor=8)
    hook = MeanDisplacementHook(crop_size=24, batch_size=3)
    hook.after_train_iter(build_runner(tmp_path, model), 6)
    assert model.decode_head.mean_displacement.tolist() == pytest.approx(by_hand(images, 24), abs=1e-5)


def test_it_comes_before_the_checkpoint_is_saved() -> None:
    # A hook of a higher priority, which is a smaller number, is called first.
    assert get_priority(MeanDisplacementHook.priority) < get_priority(HOOKS.get('CheckpointHook').priority)


def test_what_is_refused_before_training(tmp_path: Path, images: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r'give it a crop_size, or model\.data_preprocessor a size'):
        MeanDisplacementHook().before_train(build_runner(tmp_path, Model(size_divisor=8)))
    model = Model()
    del model.decode_head.mean_displacement
    with pytest.raises(TypeError, match='Head has no displacements; it is for IRNHead'):
        MeanDisplacementHook().before_train(build_runner(tmp_path, model))
    runner = build_runner(tmp_path, Model())
    runner.train_dataloader = DataLoader(torch.utils.data.ConcatDataset([runner.train_dataloader.dataset]))
    with pytest.raises(TypeError, match='ConcatDataset has no pipeline of its own'):
        MeanDisplacementHook().before_train(runner)
