"""Files and folders that appear complete or not at all."""

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_TEMPORARY_NAME = re.compile(r'\..+\.(\d+)-([0-9a-f]{8})\.tmp')
_DAY = 86_400.0  # seconds after which what another machine has left is taken for abandoned
_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
_PROCESSES = Path('/proc/self/ns/pid')  # which processes a number is of: a container has its own
_LONGEST_NAME = 200  # in bytes; of 255 that a file system allows
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_GOES_ON = 'the same command goes on with the rest'
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def atomic_write(path: str | os.PathLike[str], way_on: str = _GOES_ON, *, one_of_many: bool = False) -> Iterator[Path]:
    """Hand out a hidden name next to ``path``, and rename what was written there at the end.

    Whoever reads ``path`` finds the whole new file or what was there before, after a power cut, too: a file is on the
    disk before it is renamed. After an error nothing is left; after a killed process a hidden file is, which goes when
    ``path`` is written again, and with :func:`remove_leftovers`.

    Args:
        path: File or folder to write; the folder around it is made. A folder takes the place of an empty one only.
        way_on: What a person can do once there is space again.
        one_of_many: A folder gets many such files: neither wait for the disk, 2 to 3 ms a file, nor look for what
            killed processes left of it. After a power cut it may be empty.

    Yields:
        Where to write.

    Raises:
        OSError: If writing fails; where no space is left or nothing may be written, the message says what to do.
    """
    target = Path(path).absolute()
    temporary = target.with_name(temporary_name(target.name, os.getpid()))
    with clear_write_errors(target, way_on):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not one_of_many:
            remove_leftovers_of(target)
        _remove(temporary)  # of a killed process that had the same number
        try:
            yield temporary
            if not one_of_many and temporary.is_file():
                with temporary.open('rb') as file:
                    os.fsync(file.fileno())
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
    _check_surroundings(Path(path).absolute() / 'files')


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file for people and programs; errors as of :func:`atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def remove_leftovers(folder: str | os.PathLike[str], below: bool = True) -> None:
    """Remove what killed processes left half written in a folder.

    What a living process may be writing at this moment is left alone: one of this machine that lives, or one of another
    machine or container, whose processes cannot be seen from here, unless the file is older than a day.

    Args:
        folder: The folder.
        below: In the folders in it, too.
    """
    for place, subfolders, names in os.walk(folder):
        for name in subfolders + names:
            _remove_leftover(Path(place, name))
        if not below:
            break


def remove_leftovers_of(path: str | os.PathLike[str]) -> None:
    """As :func:`remove_leftovers`, of one file or folder."""
    target = Path(path).absolute()
    start = _hidden(target.name)
    with suppress(OSError):  # of a folder that may be written and not be listed
        for name in os.listdir(target.parent):
            if name.startswith(start) and '.' not in name.removeprefix(start).removesuffix('.tmp'):
                _remove_leftover(target.with_name(name))


def temporary_name(name: str, process: int) -> str:
    """What a file or folder is called while a process of this machine writes it."""
    return f'{_hidden(name)}{process}-{_machine()}.tmp'


def _check_surroundings(target: Path) -> None:
    there = next(folder for folder in target.parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f'{there} is a file, so that nothing can be written into it; name a folder')
    first = there / target.relative_to(there).parts[0]
    with clear_write_errors(first), tempfile.TemporaryFile(dir=there):
        pass


def _hidden(name: str) -> str:
    """The start of a temporary name; that of a long name is a digest, to be no longer than a name may be."""
    encoded = os.fsencode(name)
    return f'.{name}.' if len(encoded) <= _LONGEST_NAME else f'.{hashlib.sha256(encoded).hexdigest()}.'


@cache
def _machine() -> str:
    """A mark of the machine, or the container, in which a number means one process."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        parts += [_BOOT_ID.read_text(), os.readlink(_PROCESSES)]
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:8]


def _remove_leftover(path: Path) -> None:
    """Remove a file or folder if it is one; nothing is said where that may not be done."""
    match = _TEMPORARY_NAME.fullmatch(path.name)
    if match is None:
        return
    process, machine = int(match[1]), match[2]
    with suppress(OSError):
        if machine == _machine():
            abandoned = process == os.getpid() or not _is_alive(process)
        else:
            abandoned = time.time() - path.lstat().st_mtime > _DAY
        if abandoned:
            _remove(path)


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
