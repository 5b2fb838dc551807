"""A training that has diverged stops at once, and its last good checkpoint stays the last one."""

import math
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ..datasets.image_files import first_few
from .checkpoint_lookup import NOTE, find_checkpoint
from .model_state import unwrapped
from .whole_checkpoint_hook import WholeCheckpointHook

_SHOWN_IMAGES = 32


class DivergedError(RuntimeError):
    """The loss or the weights of a training are no numbers any more."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop when the loss is NaN or infinite, naming the iteration and its images; write no weights that are.

    The check costs next to nothing: MMEngine has put the loss into its message hub already. Gradients are not looked
    at; loss scaling (``--amp``) skips a step when they are infinite, as it should. A step can also spoil the weights
    while its own loss is finite: therefore weights are looked over before each checkpoint.
    """

    priority = 'ABOVE_NORMAL'  # after the loss has been put into the message hub, before anything is saved or logged

    def before_train(self, runner: Any) -> None:
        """Remember the checkpoint that is there already, which may be another training's."""
        self._images: list[str] = []
        self._iteration = runner.iter
        self._before = None if runner._resume else _state(_pointer(runner))

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Look at the loss.

        Raises:
            DivergedError: If it is not finite.
        """
        self._iteration = runner.iter + 1  # from here on: MMEngine counts on before the epoch ends, where it saves
        samples = (data_batch or {}).get('data_samples') or ()
        self._images = [sample.get('img_path', 'an image without img_path') for sample in samples]
        values = {name: runner.message_hub.get_scalar(f'train/{name}').current() for name in outputs or {}}
        if not math.isfinite(values.get('loss', 0.0)):
            shown = ', '.join(f'{name} {value:.4g}' for name, value in values.items())
            raise DivergedError(
                f'iteration {self._iteration}: the loss is not finite ({shown}). {self._way_on(runner)}'
            )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Look over what is going to be written.

        Raises:
            DivergedError: If a weight is not finite, or a buffer NaN.
        """
        weights = dict(unwrapped(runner.model).named_parameters())
        bad = [
            name
            for name, value in checkpoint['state_dict'].items()
            if torch.is_tensor(value)
            and value.is_floating_point()
            and not (value.isfinite() if name in weights else ~value.isnan()).all()
        ]
        if bad:
            raise DivergedError(
                f'iteration {self._iteration}: {len(bad)} weights are not finite ({first_few(bad)}), and no checkpoint '
                f'was written. {self._way_on(runner)}'
            )

    def _way_on(self, runner: Any) -> str:
        images = self._images[:_SHOWN_IMAGES]
        if len(self._images) > len(images):
            images.append(f'... and {len(self._images) - len(images)} more')
        return (
            'The training was stopped. Its images:\n  '
            + '\n  '.join(images)
            + f'\n{self._last_good(runner)} The same settings end at the same place: look at these images and their '
            'labels, and clip gradients (--cfg-options optim_wrapper.clip_grad.max_norm=1), leave --amp '
            'out, or begin anew with a lower rate (optim_wrapper.optimizer.lr); a rate is not changed by --resume'
        )

    def _last_good(self, runner: Any) -> str:
        state = _state(_pointer(runner))
        if state is None or state == self._before:
            return 'This run has written no checkpoint yet.'
        hooks = [hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)]
        try:
            found = hooks[0].find(runner) if hooks else find_checkpoint(runner.work_dir)
        except (OSError, ValueError) as error:
            return f'It left no checkpoint to go on from: {error}.'
        return f'The last good checkpoint is {found}; --resume goes on from it.'


def _pointer(runner: Any) -> Path:
    """The file that names the last checkpoint of a work directory."""
    return Path(runner.work_dir, NOTE)


def _state(path: Path) -> tuple[int, int, bytes] | None:
    """Differs if the file was written in between; None if there is none."""
    try:
        found = os.stat(path)
        return found.st_ino, found.st_mtime_ns, path.read_bytes()
    except FileNotFoundError:
        return None
