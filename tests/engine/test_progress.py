"""The progress of a long command, on a terminal and in a log file."""

import io
from types import SimpleNamespace

import pytest

from sipe_mmseg.engine import ProgressHook
from sipe_mmseg.engine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_says_how_many_how_fast_and_what_is_left() -> None:
    clock = Clock()
    progress = Progress(1200, io.StringIO(), clock=clock)
    assert progress.line().endswith('0/1200 images, 0 images/s, 0:00:00 gone, ? left')
    clock.seconds += 60
    progress.advance(300)
    assert progress.line() == '[######..................] 300/1200 images, 5 images/s, 0:01:00 gone, 0:03:00 left'


def test_writes_a_line_now_and_then_into_a_file() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress(100, stream, log_interval=30, clock=clock) as progress:
        for _ in range(100):
            clock.seconds += 1
            progress.advance()
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ['30/100', '60/100', '90/100', '100/100']
    assert '\r' not in stream.getvalue()


def test_rewrites_one_line_of_a_terminal() -> None:
    clock, stream = Clock(), Terminal()
    with Progress(4, stream, terminal_interval=0.5, clock=clock) as progress:
        for _ in range(4):
            clock.seconds += 0.3
            progress.advance()
    states = stream.getvalue().split('\r')
    assert [state.split()[1] for state in states[1:]] == ['2/4', '4/4']
    assert stream.getvalue().count('\n') == 1 and stream.getvalue().endswith('\n')
    assert len({len(state.rstrip('\n')) for state in states[1:]}) == 1  # none leaves the end of a longer one behind


def test_an_error_before_the_first_image_shows_nothing() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError), Progress(10, stream):
        raise ValueError
    assert not stream.getvalue()


def test_an_error_shows_how_far_it_got() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError), Progress(10, stream) as progress:
        progress.advance(3)
        raise ValueError
    assert '3/10 images' in stream.getvalue()


def test_nothing_to_do_writes_nothing() -> None:
    for stream in (io.StringIO(), Terminal()):
        Progress(0, stream).close()
        assert stream.getvalue() == ''


def test_hook_counts_the_images_of_all_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('sipe_mmseg.engine.progress.get_world_size', lambda: 2)
    hook, runner = ProgressHook(), SimpleNamespace(test_dataloader=SimpleNamespace(dataset=range(7)))
    hook.before_test(runner)
    for batch in range(2):  # of the four images of the first process
        hook.after_test_iter(runner, batch, outputs=[object(), object()])
    hook.after_test(runner)
    assert '7/7 images' in capsys.readouterr().err


def test_other_processes_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr('sipe_mmseg.engine.progress.is_main_process', lambda: False)
    hook = ProgressHook()
    hook.before_test(None)
    hook.after_test_iter(None, 0, outputs=[object()])
    hook.after_test(None)
    assert capsys.readouterr().err == ''
