"""The model itself, and a way to evaluate it that leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> Any:
    """The model inside a wrapper such as ``MMDistributedDataParallel``; any other model as it is."""
    return model.module if is_model_wrapper(model) else model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for all modules, and after it each module's own mode again.

    Without ``eval()``, which in backbones does more than that: mmseg's ResNet freezes parameters.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
