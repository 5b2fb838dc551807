"""Files and folders that appear complete or not at all."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TEMPORARY_NAME = re.compile(r'\..+\.(\d+)\.tmp')
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Hand out a hidden name next to ``path``, and rename what was written there at the end.

    Whoever reads ``path`` finds the whole new file or what was there before. After an error nothing is left; after a
    killed process a hidden file is, which :func:`remove_leftovers` takes away.

    Args:
        path: File or folder to write; the folder around it is made. A folder takes the place of an empty one only.

    Yields:
        Where to write.

    Raises:
        OSError: If writing fails; where no space is left, the message says so and what to do.
    """
    target = Path(path).absolute()
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            _remove(temporary)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise OSError(
            error.errno,
            f'no space left in {target.parent} for {target.name}: free some, or name a folder on another disk. '
            'The files that are there are complete, and the same command goes on with the rest',
        ) from error


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
            match = _TEMPORARY_NAME.fullmatch(name)
            if match and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
                _remove(Path(place, name))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
