"""Ctrl-C and SIGTERM while something runs: exit codes, last lines, and what a second one does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sipe_mmseg_cli import main as main_module
from sipe_mmseg_cli.main import main
from sipe_mmseg_cli.stops import Stopped, stoppable

ROOT = Path(__file__).parents[2]
BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def python_s_own_interrupt() -> object:
    """A test run in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def hit_by(number: int, then: Callable[[], int] = lambda: 0) -> Callable[[], int]:
    def run() -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            then()
        return 0

    return run


def failing() -> int:
    raise RuntimeError('DataLoader worker was killed')


@pytest.mark.parametrize('number', BOTH)
@pytest.mark.parametrize('then', [lambda: 0, failing], ids=['quiet', 'failing'])
def test_a_stop_is_a_line_and_a_code(number: int, then: Callable[[], int], capsys: pytest.CaptureFixture) -> None:
    before = [signal.getsignal(each) for each in BOTH]
    assert stoppable(hit_by(number, then), 'stopped; go on') == 128 + number
    assert capsys.readouterr().err == '\nstopped; go on\n'
    assert [signal.getsignal(each) for each in BOTH] == before


def test_no_stop_no_line(capsys: pytest.CaptureFixture) -> None:
    assert stoppable(lambda: 3, 'stopped') == 3
    with pytest.raises(RuntimeError, match='DataLoader'):
        stoppable(failing, 'stopped')
    assert stoppable(hit_by(signal.SIGTERM), '') == 143
    assert capsys.readouterr().err == ''


def test_a_command_may_know_better(capsys: pytest.CaptureFixture) -> None:
    def run() -> int:
        raise Stopped('stage a was stopped', signal.SIGTERM)

    assert stoppable(run, 'stopped') == 143
    assert capsys.readouterr().err == '\nstage a was stopped\n'


def test_what_ends_well_in_spite_of_a_stop_ended_well() -> None:
    def run() -> int:
        with pytest.raises(KeyboardInterrupt):
            hit_by(signal.SIGTERM)()
        return 0

    assert stoppable(run, 'stopped') == 0


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 5

    assert stoppable(run, 'stopped') == 5


def test_in_a_thread_nothing_is_caught() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(stoppable(lambda: 7, 'stopped')))
    thread.start()
    thread.join()
    assert codes == [7]


TWICE = """
import os, signal, sys, time
from sipe_mmseg_cli.stops import stoppable
def run():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    finally:
        time.sleep(float(sys.argv[1]))
        os.kill(os.getpid(), signal.SIGTERM)
        print('cleaned', flush=True)
sys.exit(stoppable(run, 'stopped'))
"""


@pytest.mark.parametrize(('pause', 'code', 'printed'), [(0, 143, 'cleaned\n'), (2.2, -signal.SIGTERM, '')])
def test_a_second_stop_is_the_same_one_or_ends_it_at_once(pause: float, code: int, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, '-c', TWICE, str(pause)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, printed)


@pytest.mark.parametrize(
    ('words', 'surroundings', 'line'),
    [
        (
            ['train', 'a b.py', '--amp'],
            {},
            "stopped; go on with: sipe-mmseg train 'a b.py' --amp --resume",
        ),
        (['train', 'a.py', '--resume'], {}, 'stopped; go on with: sipe-mmseg train a.py --resume'),
        (
            ['train', 'a.py'],
            dict(TORCHELASTIC_RUN_ID='x', RANK='0'),
            'stopped; go on with the same command and --resume',
        ),
        (['train', 'a.py'], dict(TORCHELASTIC_RUN_ID='x', RANK='1'), ''),
        (['labels', 'a.py'], {}, 'stopped; the same command goes on'),
        (['refine', 'crf'], {}, 'stopped; the same command goes on'),
        (['convert', 'coco14', 'a.json', 'b'], {}, 'stopped; the same command goes on'),
        (['report', 'x'], {}, 'stopped; the same command begins again'),
    ],
)
def test_each_command_says_how_to_go_on(
    words: list[str],
    surroundings: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    for name in ('TORCHELASTIC_RUN_ID', 'RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(main_module, '_run', lambda *_: hit_by(signal.SIGTERM)())
    assert main(words) == 143
    assert capsys.readouterr().err.strip() == line
