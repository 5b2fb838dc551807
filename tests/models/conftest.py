"""What the tests of the models share: the slow second implementation, a tiny backbone, tiny segmentors and samples."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn


@pytest.fixture(scope='session')
def reference() -> ModuleType:
    """``sipe_reference.py`` beside this file; the suite is no package, so it cannot be imported by name."""
    spec = importlib.util.spec_from_file_location('sipe_reference', Path(__file__).with_name('sipe_reference.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@MODELS.register_module(force=True)
class TinyPyramid(nn.Module):
    """One 3x3 convolution a stage; returns one map a stage at the given strides."""

    def __init__(self, channels: Sequence[int] = (4, 6, 8, 10), strides: Sequence[int] = (4, 8, 16, 16)) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        last, last_stride = 3, 1
        for now, stride in zip(channels, strides, strict=True):
            self.stages.append(nn.Conv2d(last, now, 3, stride // last_stride, padding=1, bias=False))
            nn.init.kaiming_normal_(self.stages[-1].weight)
            last, last_stride = now, stride

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, x = [], images
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return maps


def build_segmentor(
    *,
    seed: int = 3,
    channels: Sequence[int] = (4, 6, 8, 10),
    strides: Sequence[int] = (4, 8, 16, 16),
    num_classes: int = 4,
    test_cfg: dict | None = None,
    data_preprocessor: dict | None = None,
    **head: Any,
) -> nn.Module:
    torch.manual_seed(seed)
    head = dict(
        dict(
            type='SIPEHead',
            in_channels=list(channels),
            side_channels=[3] * len(channels),
            num_classes=num_classes,
            loss_gsc=dict(type='GSCLoss'),
        ),
        **head,
    )
    model = MODELS.build(
        dict(
            type='SIPESegmentor',
            backbone=dict(type='TinyPyramid', channels=list(channels), strides=list(strides)),
            decode_head=head,
            test_cfg=test_cfg,
            data_preprocessor=data_preprocessor,
        )
    )
    # Larger than PyTorch's initialisation, so that every class is active somewhere and wins some pixels.
    nn.init.normal_(model.decode_head.classifier.weight)
    return model


@pytest.fixture
def segmentor() -> Callable[..., nn.Module]:
    """Builds a tiny SIPESegmentor in float32 with the weights of ``seed``; other arguments go into its config."""
    return build_segmentor


def build_sample(
    labels: Sequence[int] | None = None, size: Sequence[int] = (64, 80), box: Sequence[int] | None = None, **meta: Any
) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(img_path='image.jpg', ori_shape=tuple(size), img_shape=tuple(size), **meta))
    if labels is not None:
        sample.set_data(dict(image_labels=LabelData(multi_hot=torch.tensor(labels, dtype=torch.float32))))
    if box is not None:
        sample.set_data(dict(valid_box=torch.tensor(box)))
    return sample


@pytest.fixture
def make_sample() -> Callable[..., SegDataSample]:
    """Makes a sample as the pipeline packs it: labels (K,) of 0 and 1, the image's size, its box inside the crop."""
    return build_sample
