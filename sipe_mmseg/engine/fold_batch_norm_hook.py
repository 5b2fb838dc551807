"""Batch normalisation folded into the convolutions while a model is tested."""

import copy
from typing import Any

from mmcv.cnn import fuse_conv_bn
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from .model_state import unwrapped


@HOOKS.register_module()
class FoldBatchNormHook(Hook):
    """Test with a copy of the model whose convolutions have taken up the BatchNorm behind them.

    Faster, and equal but for rounding. The model itself is back after the test, as it was. Validation during training
    is not touched.

    MMCV's ``fuse_conv_bn`` takes the BatchNorm registered next after a convolution for the one behind it; a network
    that is written otherwise must be tested without: ``enabled=False``.

    Args:
        enabled: False leaves the model as it is.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_test(self, runner: Any) -> None:
        """Put the copy in the model's place."""
        if not self.enabled:
            return
        self._model = unwrapped(runner.model)
        _replace(runner, fuse_conv_bn(copy.deepcopy(self._model)))

    def after_test(self, runner: Any) -> None:
        """Put the model back."""
        if self.enabled:
            _replace(runner, self._model)
            del self._model


def _replace(runner: Any, model: Any) -> None:
    if is_model_wrapper(runner.model):
        runner.model.module = model
    else:
        runner.model = model
