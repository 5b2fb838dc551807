"""Running statistics of the first process in all of them, before they score together."""

from typing import Any

from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Score during training what the checkpoint holds, in every process.

    BatchNorm, unless it is SyncBN, gathers other running statistics in each process; the checkpoint has those of the
    first one. Without this each process scores its share of the images with its own, and otherwise after ``--resume``.
    """

    def before_val(self, runner: Any) -> None:
        """Take the first process's buffers."""
        for buffer in runner.model.buffers():
            broadcast(buffer)
