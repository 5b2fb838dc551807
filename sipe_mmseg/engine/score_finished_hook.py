"""Scores of a training that was stopped while it was scored."""

from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.registry import HOOKS

from ..datasets.atomic_write import atomic_write

_NOTE = 'scored_iterations'


@HOOKS.register_module()
class ScoreFinishedHook(Hook):
    """Score what a training resumes from, if it was stopped before that was done.

    MMEngine writes a checkpoint, scores it, and trains on; a resumed training begins with the latter. Stopped in
    between, it never has that score, and calls another checkpoint the best. Therefore this hook notes in the work
    directory which iterations have been scored. Where nothing is left to train, the end is scored in any case: whoever
    has started the training waits for figures.
    """

    priority = 'LOWEST'  # all others are ready to train, or have seen the score
    _note: Path
    _scored: list[int] | None = None

    def before_train(self, runner: Any) -> None:
        """Score if that was left out; forget scores of what is trained now."""
        self._note = Path(runner.work_dir, _NOTE)
        noted: list[Any] = [_read(self._note) if is_main_process() else None]
        broadcast_object_list(noted)
        self._scored = [iteration for iteration in noted[0] if 0 < iteration <= runner.iter]
        if self._scored != noted[0]:
            self._write(self._scored)
        if runner.val_loop is not None and self._is_to_be_scored(runner):
            runner.logger.info(f'Scoring first what iteration {runner.iter} has left')
            runner.val_loop.run()

    def after_val(self, runner: Any) -> None:
        """Note that this iteration has been scored."""
        if self._scored is not None and runner.iter not in self._scored:
            self._scored.append(runner.iter)
            self._write(self._scored)

    def _is_to_be_scored(self, runner: Any) -> bool:
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            done, end = loop.epoch, loop.max_epochs
        elif isinstance(loop, IterBasedTrainLoop):
            done, end = loop.iter, loop.max_iters
        else:
            return False
        if done >= end:
            return True
        hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        if isinstance(loop, EpochBasedTrainLoop) and not all(hook.by_epoch for hook in hooks):
            return False  # a checkpoint within an epoch, from whose beginning MMEngine goes on
        loop._decide_current_val_interval()
        is_due = done >= loop.val_begin and done % loop.val_interval == 0
        return done > 0 and is_due and runner.iter not in (self._scored or ())

    def _write(self, iterations: list[int]) -> None:
        if is_main_process():
            with atomic_write(self._note, 'the same command with --resume goes on from the newest') as temporary:
                temporary.write_text(''.join(f'{iteration}\n' for iteration in iterations))


def _read(note: Path) -> list[int]:
    """The iterations that have been scored; none where there is no such note, or none of ours."""
    try:
        return [int(line) for line in note.read_bytes().split()]
    except (FileNotFoundError, ValueError):
        return []
