"""Scores of a training that was stopped while it was scored at its end."""

from typing import Any

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ScoreFinishedHook(Hook):
    """Validate where a resumed training finds nothing left to train.

    A training that is stopped while it is scored at its end has written its last checkpoint. MMEngine resumes from it,
    trains nothing, and ends without figures.
    """

    def before_train(self, runner: Any) -> None:
        """Note where the training begins."""
        self._begin = runner.iter

    def after_train(self, runner: Any) -> None:
        """Validate if it has ended there."""
        if runner.iter == self._begin and runner.val_loop is not None:
            runner.logger.info('Nothing was left to train; scoring what there is')
            runner.val_loop.run()
