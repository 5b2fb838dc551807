"""Mixed precision where MMEngine's ``AmpOptimWrapper`` does not start: on CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Forward passes under autocast in bfloat16, on CPUs and GPUs; the weights stay in float32.

    Losses are not scaled: bfloat16 has the range of float32. Arguments are those of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass of ``model``, and what ``OptimWrapper`` puts there."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
