"""The formulas as they are written, and as they are computed: the same values and gradients."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sipe_mmseg.models.gsc_loss import gsc_loss
from sipe_mmseg.models.prototypes import (
    class_activation_maps,
    hierarchical_feature,
    image_specific_cams,
    image_specific_prototypes,
    structure_aware_seeds,
)


@pytest.fixture(scope='module')
def written() -> ModuleType:
    path = Path(__file__).with_name('sipe_transcription.py')
    spec = importlib.util.spec_from_file_location('sipe_transcription', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('classes', [2, 21, 81])
def test_values_and_gradients(written: ModuleType, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, classes - 1, 6, 9, generator=generator, requires_grad=True)
    deepest = torch.randn(2, 10, 6, 9, generator=generator)
    sides = [torch.randn(2, 5, 24, 36, generator=generator), torch.randn(2, 7, 6, 9, generator=generator)]
    sides = [side.requires_grad_() for side in sides]
    valid = (torch.rand(2, classes, 1, 1, generator=generator) > 0.5).float()
    valid[:, 0] = 1
    results = []
    for ours in (True, False):
        if ours:
            cam = class_activation_maps(logits) * valid
            features = hierarchical_feature(sides, [torch.nn.Identity()] * 2, (6, 9))
            seeds = structure_aware_seeds(deepest, cam, valid)
            is_cam = image_specific_cams(features, image_specific_prototypes(features, seeds))
            loss = gsc_loss(cam, is_cam)
        else:
            cam = written.general_cam(logits, valid)
            features = written.hierarchical_feature(sides, (6, 9))
            seeds = written.seeds(deepest, cam, valid)
            is_cam = written.is_cam(features, seeds)
            loss = written.gsc_loss(cam, is_cam)
        results.append([cam, features, seeds, is_cam, loss, *torch.autograd.grad(loss, [logits, *sides])])
    assert results[0][2].sum() > 0
    for computed, expected in zip(*results, strict=True):
        torch.testing.assert_close(computed, expected.to(computed.dtype), rtol=1e-4, atol=1e-6)
