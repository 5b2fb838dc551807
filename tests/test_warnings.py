"""In a test run, a warning that our code gives or causes is an error."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest

PACKAGE = ('sipe_mmseg.models.sipe_head', 'sipe_mmseg_cli.main')


def as_if_in(module: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this file with the name of another module around it, which a warning is put down to."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**globals(), '__name__': module})


def gives() -> None:
    warnings.warn('it is old', DeprecationWarning, stacklevel=1)


def causes() -> None:
    np.ones(1) / np.zeros(1)


def leaves_open(path: Path) -> None:
    open(path, 'w')  # noqa: SIM115


@pytest.mark.parametrize('module', [*PACKAGE, __name__])
def test_a_warning_of_ours_is_an_error(module: str) -> None:
    with pytest.raises(DeprecationWarning, match='it is old'):
        as_if_in(module, gives)()
    with pytest.raises(RuntimeWarning, match='divide by zero'):
        as_if_in(module, causes)()


def test_a_warning_inside_the_stack_is_told() -> None:
    with warnings.catch_warnings(record=True) as told:
        as_if_in('mmengine.runner', gives)()
    assert [str(warning.message) for warning in told] == ['it is old']


@pytest.mark.parametrize('module', PACKAGE)
def test_a_file_left_open_is_an_error(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = []
    monkeypatch.setattr(sys, 'unraisablehook', ignored.append)
    as_if_in(module, leaves_open)(tmp_path / 'file')
    (unraisable,) = ignored
    assert unraisable.exc_type is ResourceWarning

    # What pytest makes of it when the test has ended.
    text = f'Exception ignored in: a file\n\nTraceback ...\nResourceWarning: {unraisable.exc_value}'
    with pytest.raises(pytest.PytestUnraisableExceptionWarning):
        warnings.warn_explicit(
            text, pytest.PytestUnraisableExceptionWarning, 'file.py', 1, module='_pytest.unraisableexception'
        )
