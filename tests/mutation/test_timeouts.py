"""What becomes of a mutant: no timeout counts as killed."""

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script. cosmic-ray, which makes the mutants, is not needed here."""
    for name, function in (('mutating', 'mutate_code'), ('plugins', 'get_operator')):
        monkeypatch.setitem(sys.modules, f'cosmic_ray.{name}', SimpleNamespace(**{function: None}))
    spec = importlib.util.spec_from_file_location('mutation_run', Path(__file__).with_name('run.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('end', 'outcome'),
    [
        (lambda: os._exit(0), 'survived'),
        (lambda: os._exit(1), 'killed'),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 'killed'),
        (lambda: os.kill(os.getpid(), signal.SIGXCPU), 'timed out'),
        (lambda: time.sleep(60), 'timed out'),
    ],
    ids=['passes', 'fails', 'is killed', 'out of processor time', 'hangs'],
)
def test_a_timeout_is_no_kill(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, end: Callable[[], None], outcome: str
) -> None:
    monkeypatch.setattr(run, 'TIMEOUT', 1)
    child = os.fork()
    if child == 0:
        end()
        os._exit(2)
    assert run.wait(child) == outcome
