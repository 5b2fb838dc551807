"""How far a long command is: images done, images per second, time left."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TextIO

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

_WIDTH = 24


class Progress:
    """A bar on a terminal, a line now and then in a log file.

    Args:
        total: Number of images.
        stream: Where to write; standard error by default.
        terminal_interval: Seconds between two states of the bar on a terminal.
        log_interval: Seconds between two lines elsewhere.
        clock: Seconds since some fixed moment.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        terminal_interval: float = 0.2,
        log_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._on_terminal = self._stream.isatty()
        self._interval = terminal_interval if self._on_terminal else log_interval
        self._clock = clock
        self._start = self._shown = clock()
        self._shown_done = -1

    def advance(self, number: int = 1) -> None:
        """Count images as done; the last one is always shown."""
        self.done = min(self.total, self.done + number)
        if self.done == self.total or self._clock() - self._shown >= self._interval:
            self._show()

    def close(self) -> None:
        """Show the last state and end the line; nothing if nothing was done."""
        if self.done and self.done != self._shown_done:
            self._show()
        if self._on_terminal and self._shown_done >= 0:
            self._stream.write('\n')
            self._stream.flush()

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def line(self) -> str:
        """The state as one line of text."""
        seconds = self._clock() - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        left = str(timedelta(seconds=round((self.total - self.done) / rate))) if rate else '?'
        filled = _WIDTH * self.done // self.total if self.total else _WIDTH
        return (
            f'[{"#" * filled}{"." * (_WIDTH - filled)}] {self.done}/{self.total} images, {rate:.3g} images/s, '
            f'{timedelta(seconds=round(seconds))} gone, {left} left'
        )

    def _show(self) -> None:
        self._shown, self._shown_done = self._clock(), self.done
        # On a terminal the next state takes this one's place; spaces wipe out the rest of a longer one.
        self._stream.write(f'\r{self.line():<100}' if self._on_terminal else f'{self.line()}\n')
        self._stream.flush()


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show the progress of a test loop over all its processes, on standard error of the first one."""

    priority = 'LOW'

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def before_test(self, runner: Any) -> None:
        """Start counting."""
        if is_main_process():
            self._progress = Progress(len(runner.test_dataloader.dataset))

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Count a batch; the other processes are as far as the first one."""
        if self._progress is not None:
            self._progress.advance(len(outputs or ()) * get_world_size())

    def after_test(self, runner: Any) -> None:
        """End the line."""
        if self._progress is not None:
            self._progress.close()
