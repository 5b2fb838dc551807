"""Checkpoints that appear complete or not at all, and a resume that takes no others."""

import os
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from ..datasets.atomic_write import atomic_write, remove_leftovers
from ..datasets.image_files import first_few
from .checkpoint_contents import check_readable
from .checkpoint_lookup import NOTE, find_checkpoint, is_numbered
from .config_lookup import read_note

_BACKEND = 'whole_files'


class WholeFileBackend(LocalBackend):
    """MMEngine's local files, except that each is written under a hidden name and renamed when it is on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; a file that was there stays until the new one is complete.

        Raises:
            OSError: If that fails; nothing half written is left.
        """
        remove_leftovers(Path(filepath).parent, below=False)
        way_on = 'the same command with --resume goes on from the newest'
        with atomic_write(filepath, way_on) as temporary:
            temporary.write_bytes(obj)


register_backend(_BACKEND, WholeFileBackend, force=True)  # a reload of this module does it again


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, except that a stop at any moment leaves a training that goes on.

    MMEngine 0.10.7 writes under the final name, and resumes from whatever ``last_checkpoint`` says, which may be
    nothing, or a file that a full disk has cut short. Here a checkpoint on a local disk appears complete or not at all,
    and ``resume = True`` goes on from the one that :func:`~sipe_mmseg.engine.checkpoint_lookup.find_checkpoint` finds.
    ``load_from`` is what to go on from where the work directory has no checkpoint, or if it names one of its own.
    Training begins anew only where there is neither. The oldest checkpoint is removed when the new one is there, and so
    is the best of before: the disk must have room for one more of each. Arguments are those of ``CheckpointHook``.
    """

    file_backend: Any
    max_keep_ckpts: int
    keep_ckpt_ids: deque[int]
    last_ckpt: str | None
    _is_tried = False

    def before_run(self, runner: Any) -> None:
        """Decide what to resume from; MMEngine looks for it right after this.

        Raises:
            FileNotFoundError: If there are checkpoints and none is whole.
            OSError: If one of them cannot be read.
        """
        if not runner._resume:
            return
        decided: list[Any] = [None]
        if is_main_process():
            try:
                decided = [self._resume_from(runner)]
            except Exception as error:  # all processes raise it: none waits for the others
                decided = [error]
        broadcast_object_list(decided)
        if isinstance(decided[0], Exception):
            raise decided[0]
        runner._load_from, runner._resume = decided[0], decided[0] is not None

    def find(self, runner: Any) -> str:
        """The checkpoint that ``--resume`` goes on from.

        Raises:
            FileNotFoundError: If there is none.
            OSError: If one of them cannot be read.
        """
        if not self._is_local(runner):
            return read_note(Path(runner.work_dir, NOTE))
        return str(find_checkpoint(runner.work_dir, self._folder(runner), self.filename_tmpl))

    def _resume_from(self, runner: Any) -> str | None:
        """What to resume from; None to begin anew."""
        folders = {Path(runner.work_dir).resolve(), self._folder(runner).resolve()}
        there = [
            path.name
            for folder in folders
            for path in folder.glob('*')
            if path.name == NOTE or path.suffix == '.pth' or is_numbered(path.name, self.filename_tmpl)
        ]
        given: str | None = runner._load_from
        if not there:
            if given is None:
                runner.logger.info(f'Nothing to resume from, training begins anew: {runner.work_dir} has no checkpoint')
            else:
                runner.logger.warning(
                    f'{runner.work_dir} has no checkpoint: training goes on from {given}, with its optimizer and its '
                    'epoch. To begin with nothing but its weights, leave out --resume'
                )
            return given
        own = None if given is None else Path(given).expanduser().resolve()
        if own is not None and own.parent in folders and is_numbered(own.name, self.filename_tmpl):
            return given
        try:
            found = self.find(runner)
        except FileNotFoundError as error:
            if own is not None and own.parent in folders:
                return given
            raise FileNotFoundError(
                f'{error} to go on from (--cfg-options load_from=FILE, of this folder), or begin anew: move away what '
                f'is there, {first_few(sorted(there))}, or name another --work-dir'
            ) from None
        if given is not None:
            runner.logger.warning(f'Going on from {found}: load_from={given} counts for the first start only')
        return found

    def _is_local(self, runner: Any) -> bool:
        backend = getattr(self, 'file_backend', None)
        if backend is None:
            backend = get_file_backend(self.out_dir or runner.work_dir, backend_args=self.backend_args)
        return type(backend) in (LocalBackend, WholeFileBackend)

    def _folder(self, runner: Any) -> Path:
        """Where checkpoints are: ``before_train`` of MMEngine makes ``out_dir`` this folder."""
        if self.out_dir is None or self.out_dir == runner.work_dir:
            return Path(runner.work_dir)
        if hasattr(self, 'file_backend'):
            return Path(self.out_dir)
        return Path(self.out_dir, Path(runner.work_dir).name)

    def before_train(self, runner: Any) -> None:
        """Choose where checkpoints go, as MMEngine does, and try what they will hold beside tensors.

        What a resumed one says of files to remove is taken for those that this hook writes into that place.

        Raises:
            UnreadableError: If none of them could be loaded.
        """
        info = runner.message_hub.runtime_info
        if 'keep_ckpt_ids' in info:
            info['keep_ckpt_ids'] = [step for step in info['keep_ckpt_ids'] if isinstance(step, int)]
        super().before_train(runner)
        if self.save_best:
            self._set_best({indicator: self._own(path) for indicator, path in self._best().items()})
        self._is_tried = False
        schedulers = runner.param_schedulers or []
        check_readable(
            dict(
                meta=dict(dataset_meta=getattr(runner.train_dataloader.dataset, 'metainfo', None)),
                message_hub=runner.message_hub.state_dict(),
                optimizer=runner.optim_wrapper.state_dict(),
                param_schedulers=[
                    each.state_dict()
                    for part in (schedulers.values() if isinstance(schedulers, dict) else [schedulers])
                    for each in part
                ],
            )
        )
        if type(self.file_backend) is LocalBackend:
            self.backend_args = dict(backend=_BACKEND)
            self.file_backend = get_file_backend(backend_args=self.backend_args)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Try the first checkpoint once more: hooks may have put something into it.

        Raises:
            UnreadableError: If it could not be loaded.
        """
        if not self._is_tried:
            check_readable(checkpoint)
            self._is_tried = True

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, Any]) -> None:
        """Write the best, remove the one before, note it in the numbered one; MMEngine removes first.

        After a resume the numbered one is that resumed from, where MMEngine notes it in none.
        """
        if not self.save_best:
            return
        before = self._best()
        self._set_best(dict.fromkeys(before))
        numbered, self.last_ckpt = self.last_ckpt, None  # with neither, MMEngine writes the best and does nothing else
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt = numbered
        new = {indicator: path for indicator, path in self._best().items() if path is not None}
        self._set_best(before | new)
        for indicator in new:
            if before[indicator] not in (None, new[indicator]):
                self._remove(before[indicator])
        if new and 'last_ckpt' in runner.message_hub.runtime_info:
            step = runner.epoch if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))

    def _best(self) -> dict[str, Any]:
        """Path of the best checkpoint by each indicator; where there is but one, its name is left empty."""
        if hasattr(self, 'best_ckpt_path'):
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _own(self, path: Any) -> Any:
        """The best checkpoint in the folder of this training, wherever the one resumed from was written."""
        name = os.path.basename(path) if isinstance(path, str) else ''
        return self.file_backend.join_path(self.out_dir, name) if name.startswith('best_') else None

    def _set_best(self, paths: dict[str, Any]) -> None:
        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = paths

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        """Write first and remove after; MMEngine does it the other way round."""
        limit = self.max_keep_ckpts
        outdated: list[int] = []
        if limit > 0 and step not in self.keep_ckpt_ids:
            steps = [*self.keep_ckpt_ids, step]
            outdated = steps[:-limit]
            self.keep_ckpt_ids = deque(steps[-limit:], limit)
            # With what goes only after this has been written: where a kill comes in between, a resumed training of
            # MMEngine removes those that are too many.
            runner.message_hub.update_info('keep_ckpt_ids', steps)
        self.max_keep_ckpts = 0
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        for each in outdated:
            self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(each)))

    def _remove(self, path: str) -> None:
        if not is_main_process():
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed's are folders
            self.file_backend.rmtree(path)
