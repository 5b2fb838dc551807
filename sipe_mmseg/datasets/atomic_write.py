"""Files and folders that appear complete or not at all."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TEMPORARY_NAME = re.compile(r'\..+\.(\d+)\.tmp')
_LONGEST_NAME = 200  # in bytes; of 255 that a file system allows
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_GOES_ON = 'the same command goes on with the rest'
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def atomic_write(path: str | os.PathLike[str], way_on: str = _GOES_ON) -> Iterator[Path]:
    """Hand out a hidden name next to ``path``, and rename what was written there at the end.

    Whoever reads ``path`` finds the whole new file or what was there before. After an error nothing is left; after a
    killed process a hidden file is, which :func:`remove_leftovers` and :func:`remove_leftovers_of` take away.

    Args:
        path: File or folder to write; the folder around it is made. A folder takes the place of an empty one only.
        way_on: What a person can do once there is space again.

    Yields:
        Where to write.

    Raises:
        OSError: If writing fails; where no space is left or nothing may be written, the message says what to do.
    """
    target = Path(path).absolute()
    temporary = target.with_name(f'{_hidden(target.name)}{os.getpid()}.tmp')
    with clear_write_errors(target, way_on):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)  # of a killed process that had the same number
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            _remove(temporary)


@contextmanager
def clear_write_errors(path: str | os.PathLike[str], way_on: str = _GOES_ON) -> Iterator[None]:
    """Have the errors of a disk that is full, or that nothing may be written to, say what to do.

    Args:
        path: What is written. Errors about files elsewhere, which are only read, stay as they are.
        way_on: As in :func:`atomic_write`.
    """
    target = Path(path).absolute()
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            message = (
                f'no space left in {target.parent} for {target.name}: free some, or name a folder on another disk. '
                f'The files that are there are complete, and {way_on}'
            )
        elif error.errno in _NOT_ALLOWED and _concerns(error, target):
            message = (
                f'cannot write {target.name} into {target.parent} ({os.strerror(error.errno)}): name a folder that you '
                'may write to, or have this one made writable. The files that are there stay as they are'
            )
        else:
            raise
        raise OSError(error.errno, message) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure, before long work begins, that its result can be written. Nothing is made.

    Args:
        path: File to write later; the folders around it may be missing.

    Raises:
        OSError: If it is a folder, lies in what is none, or if nothing may be written there or no space is left.
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise IsADirectoryError(f'{path} is a folder; name a file')
    _check_surroundings(target)


def check_writable_folder(path: str | os.PathLike[str]) -> None:
    """Make sure, before long work begins, that files can be written into a folder. Nothing is made.

    Args:
        path: The folder; it may be missing, and so may those around it.

    Raises:
        OSError: As :func:`check_writable`; or if it is a file.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f'{path} is a file; name a folder')
    _check_surroundings(folder.absolute() / 'files')


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file for people and programs; errors as of :func:`atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes of this machine left half written in and below a folder.

    What a living process may be writing at this moment is left alone.
    """
    for place, subfolders, names in os.walk(folder):
        for name in subfolders + names:
            if _is_leftover(name):
                _remove(Path(place, name))


def remove_leftovers_of(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes of this machine left half written of one file or folder."""
    target = Path(path).absolute()
    start = _hidden(target.name)
    for name in os.listdir(target.parent) if target.parent.is_dir() else ():
        if name.startswith(start) and _is_leftover(name):
            _remove(target.with_name(name))


def _check_surroundings(target: Path) -> None:
    there = next(folder for folder in target.parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f'{target}: {there} is a file, so that nothing can be written into it')
    first = there / target.relative_to(there).parts[0]
    with clear_write_errors(first), tempfile.TemporaryFile(dir=there):
        pass


def _hidden(name: str) -> str:
    """The start of a temporary name; that of a long name is a digest, to be no longer than a name may be."""
    encoded = os.fsencode(name)
    return f'.{name}.' if len(encoded) <= _LONGEST_NAME else f'.{hashlib.sha256(encoded).hexdigest()}.'


def _is_leftover(name: str) -> bool:
    match = _TEMPORARY_NAME.fullmatch(name)
    return match is not None and (int(match[1]) == os.getpid() or not _is_alive(int(match[1])))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _concerns(error: OSError, target: Path) -> bool:
    """Whether an error is about a file next to the target, or about one of the folders that it lies in."""
    if error.filename is None:
        return False
    path = Path(os.fsdecode(error.filename)).absolute()
    return target.parent in path.parents or path in target.parents


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
