"""Log lines below warnings are kept back for a while, and no longer."""

import logging

import pytest
from mmengine.logging import MMLogger

from sipe_mmseg.engine.quiet_logging import only_warnings


@pytest.mark.parametrize('known', [False, True])
def test_loggers_of_mmengine_and_of_python(known: bool) -> None:
    loggers = [MMLogger.get_instance(f'quiet {known}'), logging.getLogger(f'quiet {known}')]
    loggers[1].setLevel(logging.INFO)
    if known:  # they remember that they show it
        assert all(logger.isEnabledFor(logging.INFO) for logger in loggers)
    with only_warnings():
        for logger in loggers:
            assert not logger.isEnabledFor(logging.INFO)
            assert logger.isEnabledFor(logging.WARNING)
        with only_warnings():
            pass
        assert not any(logger.isEnabledFor(logging.INFO) for logger in loggers)
    assert all(logger.isEnabledFor(logging.INFO) for logger in loggers)
