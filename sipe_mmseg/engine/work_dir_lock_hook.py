"""One training at a time in a work directory."""

import os
from contextlib import ExitStack
from typing import Any, ClassVar

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ..datasets.folder_lock import folder_lock


@HOOKS.register_module()
class WorkDirLockHook(Hook):
    """Refuse to train where another process is training; two runs would remove each other's checkpoints.

    The first process of a training holds the lock. It is freed when the training or the process ends, however that
    ends; a training that failed in this very process (a notebook) makes room for the next one. Where ``sipe-mmseg
    train`` holds the lock from its start to its end, the training joins in.
    """

    priority = 'VERY_HIGH'
    _held: ClassVar[dict[str, ExitStack]] = {}

    def before_train(self, runner: Any) -> None:
        """Take the lock.

        Raises:
            FolderInUseError: If another process holds it.
        """
        if is_main_process():
            self._release(runner)
            with ExitStack() as stack:
                stack.enter_context(folder_lock(runner.work_dir, join=True))
                self._held[os.path.realpath(runner.work_dir)] = stack.pop_all()

    def after_train(self, runner: Any) -> None:
        """Free it."""
        self._release(runner)

    def _release(self, runner: Any) -> None:
        held = self._held.pop(os.path.realpath(runner.work_dir), None)
        if held is not None:
            held.close()
