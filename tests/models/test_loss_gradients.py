"""Gradients of all losses against finite differences in float64, with absent classes, padding and unknown pixels."""

from collections.abc import Callable

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from sipe_mmseg.models.affinity_loss import affinity_loss
from sipe_mmseg.models.displacement_loss import displacement_loss
from sipe_mmseg.models.gsc_loss import gsc_loss
from sipe_mmseg.models.prototypes import (
    class_activation_maps,
    hierarchical_feature,
    image_specific_cams,
    image_specific_prototypes,
    structure_aware_seeds,
    validity_maps,
)

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]
UNKNOWN = 255


def draw(*shape: int, device: str, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(
    'labels', [[[1, 1, 1], [1, 1, 1]], [[1, 0, 1], [0, 0, 0]]], ids=['all present', 'some and all absent']
)
@pytest.mark.parametrize('boxes', [[[0, 32, 0, 48]] * 2, [[16, 32, 0, 40], [3, 32, 16, 17]]], ids=['whole', 'padded'])
def test_gsc_loss(labels: list, boxes: list, device: str) -> None:
    """Through the whole path of training, as far as gradients pass: the seeds are held."""
    logits, shallow, deep = inputs = tuple(
        draw(2, channels, *size, device=device, seed=seed)
        for seed, (channels, size) in enumerate([(3, (2, 3)), (2, (5, 6)), (3, (2, 3))])
    )
    valid = validity_maps(
        torch.tensor(labels, device=device).double(), torch.tensor(boxes, device=device), (32, 48), (2, 3)
    )

    def features(shallow: Tensor, deep: Tensor) -> Tensor:
        return hierarchical_feature([shallow, deep], [nn.Identity()] * 2, (2, 3))

    seeds = structure_aware_seeds(features(shallow, deep), class_activation_maps(logits) * valid, valid)
    assert seeds.any()

    def loss(logits: Tensor, shallow: Tensor, deep: Tensor) -> Tensor:
        cam = class_activation_maps(logits) * valid
        hierarchical = features(shallow, deep)
        return gsc_loss(cam, image_specific_cams(hierarchical, image_specific_prototypes(hierarchical, seeds)))

    assert gradcheck(loss, tuple(each.requires_grad_() for each in inputs))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('labels', [[[1.0, 0, 1], [0, 0, 0]], [[1, 1, 1], [0, 1, 0]]])
def test_classification_loss(labels: list, device: str) -> None:
    loss = MODELS.build(dict(type='MultiLabelSoftMarginLoss', loss_weight=2.5))
    targets = torch.tensor(labels, dtype=torch.float64, device=device)
    scores = (5 * draw(2, 3, device=device)).requires_grad_()
    # By hand: the mean over classes and images of -log sigmoid(score) where present and -log sigmoid(-score) elsewhere.
    expected = torch.log1p(torch.exp(torch.where(targets == 1, -scores, scores))).mean()
    torch.testing.assert_close(loss(scores, targets), 2.5 * expected)
    torch.testing.assert_close(MODELS.build(dict(type='MultiLabelSoftMarginLoss'))(scores, targets), expected)
    assert gradcheck(lambda each: loss(each, targets), (scores,))
    assert gradgradcheck(lambda each: loss(each, targets), (scores,))


LABELS = {
    'all kinds': [[0, 0, 1, 1, UNKNOWN], [0, 2, 2, 1, 1], [3, 0, 1, UNKNOWN, 0]],
    'background alone': [[0] * 5] * 3,
    'one class': [[2] * 5] * 3,
    'unknown alone': [[UNKNOWN] * 5] * 3,
    'padding at the right and at the bottom': [[0, 1, 1, UNKNOWN, UNKNOWN], [0, 0, 1, UNKNOWN, UNKNOWN], [UNKNOWN] * 5],
}


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('radius', [2, 3])
@pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize(('loss', 'channels'), [(affinity_loss, 1), (displacement_loss, 2)])
def test_losses_of_pairs(loss: Callable, channels: int, labels: list, radius: int, device: str) -> None:
    def terms(maps: Tensor) -> tuple[Tensor, ...]:
        return tuple(loss(maps, torch.tensor([labels], device=device), 4, radius))

    maps = draw(1, channels, 3, 5, device=device).requires_grad_()
    assert gradcheck(terms, (maps,))
    if loss is affinity_loss and radius == 2:  # the other is piecewise linear: there is no second derivative
        assert gradgradcheck(terms, (maps,))
