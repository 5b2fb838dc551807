"""Maps of the methods of pytorch-grad-cam on the segmentor's classifier, to compare with its own.

Computed by pytorch-grad-cam, the extra ``gradcam``.
"""

import contextlib
import inspect
import io
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.model_state import evaluating
from ..models.prototypes import resize_bilinear
from ..models.sipe_segmentor import SIPESegmentor

# Classes with the interface of a method that do not inherit from the package's BaseCAM.
_WRAPPING_METHODS = ('FinerCAM', 'RefineCAM', 'SESS')


class ImageClassifier(nn.Module):
    """A segmentor as pytorch-grad-cam wants it: images (N, 3, H, W) in, image scores (N, K) out.

    Args:
        segmentor: The segmentor.

    Attributes:
        features: Module that hands on the map that the classifier sees: the layer to explain.
        detached: Whether gradients end at that map; then the backbone is run once, without a graph.
    """

    def __init__(self, segmentor: SIPESegmentor) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.features = nn.Identity()
        self.detached = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits' spatial mean, as the segmentor's classification loss takes it."""
        head = self.segmentor.decode_head
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detached):
            deepest = self.segmentor.extract_feat(images)[head.in_index[-1]]
        if self.detached and torch.is_grad_enabled():
            deepest = deepest.detach().requires_grad_()
        logits: Tensor = head.classifier(self.features(deepest))
        return logits.mean(dim=(2, 3))

    def train(self, mode: bool = True) -> 'ImageClassifier':
        """Does nothing: the package asks for ``eval()``, which in mmseg's backbones freezes parameters."""
        return self


def import_grad_cam() -> ModuleType:
    """The package.

    Raises:
        ImportError: If it is missing; the message says how to install it.
    """
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise ImportError(
            "maps of other methods need pytorch-grad-cam, the extra 'gradcam': pip install grad-cam"
        ) from error
    module: ModuleType = pytorch_grad_cam
    return module


def method_names() -> list[str]:
    """Names of the methods that the installed package has, such as ``GradCAM``, ``GradCAMPlusPlus``, ``LayerCAM``."""
    package = import_grad_cam()
    base = sys.modules[package.GradCAM.__module__].BaseCAM
    return sorted(
        name
        for name, kind in vars(package).items()
        if inspect.isclass(kind) and (issubclass(kind, base) or name in _WRAPPING_METHODS)
    )


def classifier_cams(
    model: SIPESegmentor,
    inputs: Tensor,
    classes: Sequence[int],
    method: str = 'GradCAM',
    *,
    size: Sequence[int] | None = None,
    layers: Sequence[nn.Module] | None = None,
    **settings: Any,
) -> Tensor:
    """Maps of a method of pytorch-grad-cam for classes of one image.

    The package enlarges a map to the input, subtracts its smallest value and divides by its largest. Some methods
    (EigenCAM, KPCA_CAM, FEM) do not look at the class: all classes get the same map.

    Modes, gradients and ``requires_grad`` of the model are afterwards what they were.

    Args:
        model: The segmentor.
        inputs: One preprocessed image (1, 3, H, W), on the model's device.
        classes: Class indices (n,), 1..K.
        method: Name of the method, see :func:`method_names`.
        size: (height, width) of the maps; by default the input's.
        layers: Modules of the model whose outputs are explained. By default the map that the classifier sees.
        settings: Arguments of the method's class.

    Returns:
        Maps (n, height, width) in [0, 1], float32, on the CPU.

    Raises:
        ImportError: If the package is missing.
        ValueError: If the package has no such method, a class is none of the model's, or there are several images.
    """
    package, names = import_grad_cam(), method_names()
    if method not in names:
        raise ValueError(f'pytorch-grad-cam has no method {method!r}; it has {", ".join(names)}')
    if inputs.ndim != 4 or len(inputs) != 1:
        raise ValueError(f'inputs must be one image (1, 3, H, W), not {tuple(inputs.shape)}')
    wrong = [index for index in classes if not 0 < index < model.num_classes]
    if wrong:
        raise ValueError(f'class {wrong[0]}: foreground classes have the indices 1 to {model.num_classes - 1}')
    size = tuple(inputs.shape[-2:] if size is None else size)
    classifier = ImageClassifier(model)
    # The package writes to both streams: bars, and remarks on its own settings.
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with _left_as_it_was(model), torch.enable_grad(), quiet[0], quiet[1]:
        explainer = getattr(package, method)(classifier, list(layers or [classifier.features]), **settings)
        classifier.detached = layers is None and not getattr(explainer, 'compute_input_gradient', False)
        images = inputs.detach().clone().requires_grad_(not classifier.detached)
        try:
            maps = [
                torch.from_numpy(explainer(images, [package.utils.model_targets.ClassifierOutputTarget(index - 1)])[0])
                for index in classes
            ]
        finally:
            for hooked in _hooked(explainer):
                hooked.activations_and_grads.release()
    found = torch.stack(maps).float() if maps else inputs.new_zeros(0, *inputs.shape[-2:]).cpu().float()
    return resize_bilinear(found[:, None], size)[:, 0].clamp(0, 1) if maps else found.new_zeros(0, *size)


def _hooked(explainer: Any) -> Iterator[Any]:
    """The explainers inside an explainer that have hooks in the model."""
    if hasattr(explainer, 'activations_and_grads'):
        yield explainer
    for inner in [getattr(explainer, 'base_cam', None), *getattr(explainer, 'base_cam_per_layer', ())]:
        if inner is not None:
            yield from _hooked(inner)


@contextlib.contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and parameters that get no gradient; afterwards modes, ``requires_grad`` and gradients again."""
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    with evaluating(model):
        try:
            for parameter, _, _ in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, requires_grad, gradient in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient
