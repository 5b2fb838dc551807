"""One run at a time in a folder."""

import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from mmengine.logging import print_log

from .atomic_write import clear_write_errors

LOCK_FILE = '.lock'
_BEGINNING = b'process '
# What file systems answer that know no locks, some network drives among them.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
# Processes that this one forks inherit its open files and, with them, its locks: data workers, which may live on for
# seconds when it is killed. They close them. By the real path of the locked file.
_own: dict[str, FileIO] = {}


def _close_in_child() -> None:
    for file in _own.values():
        file.close()
    _own.clear()


os.register_at_fork(after_in_child=_close_in_child)


class FolderInUseError(RuntimeError):
    """Another process is at work in a folder."""


@contextmanager
def folder_lock(
    folder: str | os.PathLike[str], name: str = LOCK_FILE, keep: bool = False, join: bool = False
) -> Iterator[int]:
    """Hold a folder against other runs. The kernel ends it with the process, however that ends: no lock grows stale.

    The lock is one on an open file (``flock``), not the file itself, which a killed run leaves behind. Where the file
    system knows no locks, a warning says so, and nothing is held.

    Args:
        folder: The folder; it is made.
        name: The file in it that is locked.
        keep: Leave the file there at the end, for processes that have inherited it and still hold it.
        join: Where this very process holds the lock already, count as a part of that run, which frees it.

    Yields:
        File descriptor of the lock.

    Raises:
        FolderInUseError: If another run holds it; the message names its process.
        OSError: If nothing may be written into the folder.
        ValueError: If something else has this name: a link, a folder, a file with other content.
    """
    path = Path(folder, name)
    known = os.path.realpath(path)
    if join and known in _own:
        yield _own[known].fileno()
        return
    owner = os.getpid()
    with _locked_file(path) as file:
        try:
            if not keep:
                _own[known] = file
            with clear_write_errors(path):
                file.truncate(0)
                file.write(_BEGINNING + f'{os.getpid()} on {socket.gethostname()}\n'.encode())
            yield file.fileno()
        finally:
            if not keep and os.getpid() == owner:  # no fork of it, which has come here by an error
                del _own[known]
                path.unlink(missing_ok=True)


def _locked_file(path: Path) -> FileIO:
    while True:
        with clear_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            there = _state(path)
            if there is not None and not stat.S_ISREG(there.st_mode):
                raise _foreign(path, 'a link' if stat.S_ISLNK(there.st_mode) else 'a folder, a pipe or a device')
            file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), 'ab+')
        try:
            _lock(file, path.parent)
            there = _state(path)
            if there is not None and os.path.samestat(os.fstat(file.fileno()), there):
                file.seek(0)
                if file.read(len(_BEGINNING)) not in (b'', _BEGINNING):
                    raise _foreign(path, 'a file with other content')
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has removed it in between: it keeps nobody out


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:  # others come and go
        return None


def _foreign(path: Path, what: str) -> ValueError:
    return ValueError(
        f'{path}: {what}, where a run writes down that it is at work in the folder; move it away, or name another '
        'folder'
    )


def _lock(file: FileIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().decode(errors='replace').strip() or 'which has only just begun'
        raise FolderInUseError(
            f'{folder}: another run is at work there ({holder}). Wait for it, stop it, or name another folder'
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print_log(
            f'{folder}: its file system knows no locks ({os.strerror(error.errno)}); see to it yourself that no two '
            'runs are at work there',
            'current',
            logging.WARNING,
        )
