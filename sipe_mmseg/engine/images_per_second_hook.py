"""Throughput in the log."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ImagesPerSecondHook(Hook):
    """Log ``images_per_second`` of training over all processes: the batch's images over the iteration's time.

    The time is that of MMEngine's ``IterTimerHook``, data loading included.
    """

    priority = 'NORMAL'

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Put the iteration's figure into the message hub."""
        inputs: Sequence[Any] = (data_batch or {}).get('inputs', ())
        seconds = runner.message_hub.get_scalar('train/time').current()
        runner.message_hub.update_scalar('train/images_per_second', len(inputs) * get_world_size() / seconds)
