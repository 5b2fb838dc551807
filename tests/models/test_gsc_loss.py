from types import ModuleType

import pytest
import torch
from mmseg.registry import MODELS

from sipe_mmseg.models.gsc_loss import gsc_loss

SHAPE = (2, 4, 3, 5)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def draw() -> torch.Tensor:
    return torch.rand(SHAPE, dtype=torch.float64)


def test_is_the_reference(reference: ModuleType) -> None:
    cam, is_cam = draw(), draw() * 0.7
    torch.testing.assert_close(gsc_loss(cam, is_cam), reference.gsc_loss_of_images(cam, is_cam))


def test_by_hand() -> None:
    cam = torch.tensor([[[[1.0, 0.0]], [[0.5, 0.5]]]])
    is_cam = torch.tensor([[[[0.4, 0.2]], [[0.0, 0.0]]]])
    # IS_n = [1, 0.5], [0, 0]: |M - IS_n| = 0, 0.5, 0.5, 0.5
    assert float(gsc_loss(cam, is_cam, eps=0.0 + 1e-12)) == pytest.approx(1.5 / 4)


def test_absent_classes_count_in_the_mean() -> None:
    cam, is_cam = draw(), draw()
    more = torch.zeros(2, 4, 3, 5, dtype=torch.float64)
    with_absent = gsc_loss(torch.cat([cam, more], dim=1), torch.cat([is_cam, more], dim=1))
    torch.testing.assert_close(with_absent, gsc_loss(cam, is_cam) / 2)


def test_is_cam_in_the_padding_counts() -> None:
    cam, is_cam = draw(), draw()
    cam[..., 3:] = 0
    is_cam[..., 0, 0] = 2  # the maximum, inside
    masked = is_cam.clone()
    masked[..., 3:] = 0
    assert gsc_loss(cam, is_cam) > gsc_loss(cam, masked)


def test_both_maps_learn() -> None:
    cam, is_cam = draw().requires_grad_(), draw().requires_grad_()
    gsc_loss(cam, is_cam).backward()
    assert cam.grad.abs().min() > 0
    assert is_cam.grad.abs().min() > 0


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(gsc_loss, (draw().requires_grad_(), draw().requires_grad_()))


def test_empty_maps_are_finite() -> None:
    is_cam = torch.zeros(SHAPE, requires_grad=True)
    loss = gsc_loss(torch.zeros(SHAPE), is_cam)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(is_cam.grad).all()


def test_module_has_weight_and_eps() -> None:
    cam, is_cam = draw(), draw()
    module = MODELS.build(dict(type='GSCLoss'))
    torch.testing.assert_close(module(cam, is_cam), gsc_loss(cam, is_cam, 1e-5))
    module = MODELS.build(dict(type='GSCLoss', loss_weight=2.5, eps=0.3))
    torch.testing.assert_close(module(cam, is_cam), 2.5 * gsc_loss(cam, is_cam, 0.3))
    assert not list(module.parameters())
