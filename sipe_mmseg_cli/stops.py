"""Ctrl-C and SIGTERM end a command in the same way: in order, with a last line that says how to go on."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SECONDS_OF_ONE_STOP = 2.0


class Stopped(KeyboardInterrupt):
    """A stop of a command that knows better than its name how to go on.

    Args:
        message: The last line.
        number: The signal that stopped it.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def stoppable(run: Callable[[], int], message: str) -> int:
    """Run something that Ctrl-C and SIGTERM may stop: both raise ``KeyboardInterrupt`` where it is.

    Args:
        run: What to run; returns an exit code.
        message: The last line on standard error after a stop; none if empty.

    Returns:
        The exit code: that of ``run``, or 128 and the number of the signal, as a shell has it.
    """
    number: int = signal.SIGINT
    with _stops_caught() as caught:
        try:
            code = run()
            if code == 0 or not caught:
                return code
        except Stopped as stop:
            message, number = str(stop), stop.number
        except BaseException as error:
            # Workers that have been stopped, too, may fail in other words.
            if not caught and not isinstance(error, KeyboardInterrupt):
                raise
        if message:
            print(f'\n{message}', file=sys.stderr, flush=True)
        return 128 + (caught[0] if caught else number)


@contextmanager
def _stops_caught() -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` for SIGINT and SIGTERM alike, and hand out a list that gets the signal's number.

    A second signal shortly after is the same stop: torchrun passes on what the terminal has sent to all. A later one
    ends the process on the spot. Signals that are ignored, as in ``nohup``, stay ignored. Does nothing in a thread.
    """
    caught: list[int] = []
    owner, begun = os.getpid(), 0.0

    def catch(number: int, _: FrameType | None) -> None:
        nonlocal begun
        if not caught:
            caught.append(number)
            begun = time.monotonic()
            raise KeyboardInterrupt
        # A forked worker, which has this handler from its parent, is never asked twice in vain.
        if time.monotonic() - begun > _SECONDS_OF_ONE_STOP or os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, catch)
    except ValueError:  # not the main thread, which alone gets signals
        pass
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
