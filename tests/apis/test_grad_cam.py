"""Maps of pytorch-grad-cam on our classifier, against the CAM that they are variants of."""

import importlib.util
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from sipe_mmseg.apis.grad_cam import ImageClassifier, classifier_cams, import_grad_cam, method_names
from sipe_mmseg.models import SIPESegmentor

needs_package = pytest.mark.skipif(importlib.util.find_spec('pytorch_grad_cam') is None, reason='needs grad-cam')
CLASSES = [1, 3]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(**backbone: object) -> SIPESegmentor:
    torch.manual_seed(0)
    settings = dict(type='ResNet', depth=18, base_channels=8, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))
    head = dict(type='SIPEHead', in_channels=[8, 16, 32, 64], side_channels=[4] * 4, num_classes=4)
    model = MODELS.build(dict(type='SIPESegmentor', backbone=settings | backbone, decode_head=head))
    # Large weights of both signs: every class is active somewhere and inactive elsewhere, as the package's subtraction
    # of the smallest value asks for.
    nn.init.normal_(model.decode_head.classifier.weight, std=10)
    return model


@pytest.fixture
def model() -> SIPESegmentor:
    return build()


@pytest.fixture
def images() -> torch.Tensor:
    # Parts of very different colour, so that the classifier finds some of each sign.
    coarse = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(2)) * 4
    return nn.functional.interpolate(coarse, size=(64, 80))


def general_cam(model: SIPESegmentor, images: torch.Tensor) -> torch.Tensor:
    """Our CAM (n, H, W) as ``SIPESegmentor.predict`` gives it, for CLASSES."""
    model.eval()
    labels = torch.zeros(3)
    labels[[index - 1 for index in CLASSES]] = 1
    with torch.no_grad():
        (maps,) = model.localize(images, [labels], mirror=False)
        low = model.decode_head(model.extract_feat(images)).logits[0, [index - 1 for index in CLASSES]]
    assert (low.amin(dim=(1, 2)) < 0).all() and (low.amax(dim=(1, 2)) > 1).all()
    cam = nn.functional.interpolate(maps.cam[None], images.shape[-2:], mode='bilinear')[0]
    return cam / cam.amax(dim=(1, 2), keepdim=True)


@needs_package
@pytest.mark.parametrize('method', ['GradCAM', 'HiResCAM', 'XGradCAM'])
def test_methods_that_are_the_cam_of_a_linear_classifier(
    method: str, model: SIPESegmentor, images: torch.Tensor
) -> None:
    """Gradients of a mean over cells of a linear map are its weights over h * w: these methods give the CAM itself."""
    maps = classifier_cams(model, images, CLASSES, method)
    torch.testing.assert_close(maps, general_cam(model, images), atol=1e-4, rtol=0)
    assert not torch.equal(maps[0], maps[1])


@needs_package
def test_layers_of_the_backbone(model: SIPESegmentor, images: torch.Tensor) -> None:
    """The last stage is the classifier's map; an earlier one gives another map, through the rest of the backbone."""
    expected = general_cam(model, images)
    deepest = classifier_cams(model, images, CLASSES, layers=[model.backbone.layer4])
    torch.testing.assert_close(deepest, expected, atol=1e-4, rtol=0)
    earlier = classifier_cams(model, images, CLASSES, 'LayerCAM', layers=[model.backbone.layer2])
    assert earlier.std() > 0.01 and (earlier - expected).abs().max() > 0.1


@needs_package
def test_grad_cam_of_an_earlier_layer_by_hand(model: SIPESegmentor, images: torch.Tensor) -> None:
    """Channels' mean gradients, weighted sum, relu, scaled to [0, 1], enlarged."""
    model.eval()
    activations: list[torch.Tensor] = []
    handle = model.backbone.layer3.register_forward_hook(lambda module, args, output: activations.append(output))
    score = ImageClassifier(model)(images.clone().requires_grad_())[0, CLASSES[0] - 1]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, activations)
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * activations[0]).sum(dim=1, keepdim=True).relu().detach()
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    cam = nn.functional.interpolate(cam, images.shape[-2:], mode='bilinear')[0, 0]
    expected = (cam - cam.min()) / (cam.max() - cam.min())
    (found,) = classifier_cams(model, images, CLASSES[:1], 'GradCAM', layers=[model.backbone.layer3])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@needs_package
def test_every_method_leaves_the_model_as_it_was(images: torch.Tensor, capfd: pytest.CaptureFixture) -> None:
    model = build(frozen_stages=2, norm_eval=True)
    model.train()
    model.decode_head.eval()
    gradients = {}
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name] = torch.full_like(parameter, 3.0)
    model.decode_head.classifier.weight.grad = None
    modes = {name: module.training for name, module in model.named_modules()}
    asks = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert set(asks.values()) == {True, False} and set(modes.values()) == {True, False}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    structure = repr(model)
    names = method_names()
    assert {'GradCAM', 'GradCAMPlusPlus', 'LayerCAM', 'EigenCAM', 'ScoreCAM', 'AblationCAM', 'FullGrad'} <= set(names)
    for method in names:
        maps = classifier_cams(model, images, CLASSES, method, size=(32, 50))
        assert maps.shape == (2, 32, 50) and maps.dtype == torch.float32 and not maps.requires_grad, method
        assert maps.min() >= 0 and 0.5 < maps.max() <= 1 and maps.isfinite().all() and maps.std() > 0.01, method
        assert {name: module.training for name, module in model.named_modules()} == modes, method
        assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == asks, method
        assert not any(module._forward_hooks or module._backward_hooks for module in model.modules()), method
        for name, parameter in model.named_parameters():
            if name == 'decode_head.classifier.weight':
                assert parameter.grad is None, method
            else:
                assert parameter.grad is gradients[name] and (parameter.grad == 3).all(), method
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items()), method
        assert repr(model) == structure, method
    printed = capfd.readouterr()
    assert printed.out == '' and printed.err == ''


@needs_package
def test_the_model_is_left_as_it_was_after_an_error(
    model: SIPESegmentor, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise IndexError('no such thing')

    monkeypatch.setattr(import_grad_cam().GradCAM, 'get_cam_weights', fail)
    model.train()
    asks = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(IndexError, match='no such thing'):
        classifier_cams(model, images, CLASSES, 'GradCAM', layers=[model.backbone.layer4])
    assert model.training and [parameter.requires_grad for parameter in model.parameters()] == asks
    assert True in asks and not any(module._forward_hooks for module in model.modules())


@needs_package
def test_no_class_no_map(model: SIPESegmentor, images: torch.Tensor) -> None:
    assert classifier_cams(model, images, [], size=(10, 12)).shape == (0, 10, 12)


@needs_package
def test_works_where_gradients_are_off(model: SIPESegmentor, images: torch.Tensor) -> None:
    with torch.no_grad():
        maps = classifier_cams(model, images, CLASSES)
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(maps, general_cam(model, images), atol=1e-4, rtol=0)


@needs_package
def test_wrong_arguments(model: SIPESegmentor, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"has no method 'GradKAM'; it has AblationCAM, .*GradCAM, "):
        classifier_cams(model, images, CLASSES, 'GradKAM')
    with pytest.raises(ValueError, match=r"has no method 'AblationLayer'"):
        classifier_cams(model, images, CLASSES, 'AblationLayer')
    with pytest.raises(ValueError, match='class 4: foreground classes have the indices 1 to 3'):
        classifier_cams(model, images, [1, 4])
    with pytest.raises(ValueError, match=r'one image \(1, 3, H, W\), not \(2, 3, 64, 80\)'):
        classifier_cams(model, images.repeat(2, 1, 1, 1), CLASSES)


def test_scores_are_those_of_the_head(model: SIPESegmentor, images: torch.Tensor) -> None:
    model.eval()
    with torch.no_grad():
        expected = model.decode_head(model.extract_feat(images)).scores
        found = ImageClassifier(model)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_the_package(model: SIPESegmentor, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    with pytest.raises(ImportError, match=r"need pytorch-grad-cam, the extra 'gradcam': pip install grad-cam"):
        classifier_cams(model, images, CLASSES)
