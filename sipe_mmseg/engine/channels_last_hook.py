"""Channels-last tensors for any network of mmseg."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights of the convolutions in PyTorch's channels-last format, which their outputs then follow.

    Faster for depthwise convolutions on the CPU and for half precision on GPUs, equal but for the order of summation.
    """

    def before_run(self, runner: Any) -> None:
        """Convert the model, before training and before testing."""
        runner.model.to(memory_format=torch.channels_last)
