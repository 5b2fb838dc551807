"""Checkpoints that appear complete or not at all, and a resume that takes no others."""

import os
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from ..datasets.atomic_write import atomic_write, remove_leftovers
from .checkpoint_lookup import find_checkpoint

_BACKEND = 'whole_files'


class WholeFileBackend(LocalBackend):
    """MMEngine's local files, except that each is written under a hidden name and renamed when it is on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; a file that was there stays until the new one is complete.

        Raises:
            OSError: If that fails; nothing half written is left.
        """
        remove_leftovers(Path(filepath).parent)
        way_on = 'the same command with --resume goes on from the newest'
        with atomic_write(filepath, way_on) as temporary, open(temporary, 'wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())


register_backend(_BACKEND, WholeFileBackend, force=True)  # a reload of this module does it again


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, except that a stop at any moment leaves a training that goes on.

    MMEngine 0.10.7 writes under the final name, and resumes from whatever ``last_checkpoint`` says, which may be
    nothing, or a file that a full disk has cut short. Here a checkpoint on a local disk appears complete or not at all,
    and ``resume = True`` goes on from the one that :func:`~sipe_mmseg.engine.checkpoint_lookup.find_checkpoint` finds;
    without a whole one the training begins anew. Arguments are those of ``CheckpointHook``.
    """

    file_backend: Any

    def before_run(self, runner: Any) -> None:
        """Decide what to resume from; MMEngine looks for it right after this."""
        if not runner._resume or runner._load_from is not None:
            return
        found: list[str | None] = [None]
        if is_main_process():
            try:
                found = [str(find_checkpoint(runner.work_dir))]
            except FileNotFoundError as error:
                runner.logger.info(f'Nothing to resume from, training begins anew: {error}')
        broadcast_object_list(found)
        runner._load_from, runner._resume = found[0], found[0] is not None

    def before_train(self, runner: Any) -> None:
        """Choose where checkpoints go, as MMEngine does."""
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend:
            self.backend_args = dict(backend=_BACKEND)
            self.file_backend = get_file_backend(backend_args=self.backend_args)
