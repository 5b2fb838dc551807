"""Times of iterations that no setting of the clock disturbs."""

import time
from typing import Any

from mmengine.hooks import IterTimerHook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class SteadyTimerHook(IterTimerHook):
    """MMEngine's ``IterTimerHook`` by a clock that cannot be set, so that times and ``eta`` are never negative.

    It goes by ``time.time()``: after a correction of the clock the estimate is wrong for the rest of the run.
    """

    @property
    def t(self) -> float:
        """The last moment taken, in terms of the clock as it is now: all that MMEngine does is to subtract it."""
        return time.time() - (time.monotonic() - self._moment)

    @t.setter
    def t(self, now: Any) -> None:
        self._moment = time.monotonic()
