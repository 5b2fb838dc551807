"""One process of several writes the figures of a test."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from sipe_mmseg.engine import OneWriterLoggerHook


@pytest.mark.parametrize('main', [True, False])
def test_the_main_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: bool) -> None:
    monkeypatch.setattr('sipe_mmseg.engine.one_writer_logger_hook.is_main_process', lambda: main)
    runner = SimpleNamespace(
        log_processor=SimpleNamespace(get_log_after_epoch=lambda *args, **kwargs: ({'mIoU': 50.0}, 'mIoU: 50')),
        test_dataloader=[],
        log_dir=str(tmp_path),
        logger=logging.getLogger('test'),
    )
    hook = OneWriterLoggerHook()
    hook.json_log_path = 'figures.json'
    hook.after_test_epoch(runner)
    assert (tmp_path / 'figures.json').exists() == main
    if main:
        assert json.loads((tmp_path / 'figures.json').read_text()) == {'mIoU': 50.0}
