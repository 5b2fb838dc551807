"""torchrun, with the same options, whose last line after a stop says how to go on: for tools/dist_*.sh."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .stops import Stopped, stoppable

RESUME = 'stopped; go on with the same command and --resume'


def main(words: Sequence[str] | None = None) -> int:
    """Start the processes and wait for them.

    Returns:
        The exit code: 0, or 128 and the number of the signal that stopped it.
    """
    words = list(sys.argv[1:] if words is None else words)
    training = any(Path(word).name == 'train.py' for word in words)
    message = RESUME if training else 'stopped; the same command begins again'
    return stoppable(lambda: _launch(words, message), message)


def _launch(words: Sequence[str], message: str) -> int:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.run import main as torchrun

    # torchrun catches Ctrl-C and SIGTERM itself once it has processes; it passes them on and waits for the processes.
    try:
        torchrun(words)
    except SignalException as stop:
        raise Stopped(message, signal.Signals(stop.sigval)) from stop
    return 0


if __name__ == '__main__':
    sys.exit(main())
