"""Log lines that are kept from being shown for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def only_warnings() -> Iterator[None]:
    """Show no log lines below the level of a warning meanwhile, those of MMEngine's loggers included.

    These remember which levels are shown, and ``logging.disable`` makes the loggers of Python alone forget it.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    _forget()
    try:
        yield
    finally:
        logging.disable(before)
        _forget()


def _forget() -> None:
    """Have all loggers of MMEngine look anew which levels are shown: setting the level of one does that."""
    logger = MMLogger.get_current_instance()
    logger.setLevel(logger.level)
