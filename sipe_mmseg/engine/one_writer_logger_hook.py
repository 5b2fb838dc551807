"""Figures of a test that one process writes."""

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class OneWriterLoggerHook(LoggerHook):
    """MMEngine's ``LoggerHook``, except that the main process alone writes the figures of a test.

    MMEngine 0.10.7 has every process write the same file at once, and what is left may be no JSON.
    """

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Log the figures and write them to ``<time>.json``."""
        if is_main_process():
            super().after_test_epoch(runner, metrics)
