"""Which checkpoint of a work directory is the latest that is whole: the one place that everything asks."""

import logging
import os
import re
import zipfile
from pathlib import Path

from mmengine.logging import print_log

from ..datasets.messages import short
from .config_lookup import read_note

_NUMBERED = re.compile(r'(?:epoch|iter)_\d+\.pth')  # not best_*.pth, from which no training can go on


def find_checkpoint(work_dir: str | os.PathLike[str]) -> Path:
    """The checkpoint that a work directory's ``last_checkpoint`` names; where the folder was moved, the one beside it.

    Where that is not there, or cut short by a full disk or a crash, it is the newest whole ``epoch_*.pth`` or
    ``iter_*.pth``, and a warning says so.

    Raises:
        FileNotFoundError: If there is no whole checkpoint; the message says what there is.
    """
    folder = Path(work_dir).expanduser()
    named, wrong = _named(folder / 'last_checkpoint')
    if named is not None and not wrong:
        if is_whole(named):
            return named
        wrong = f'{named} is cut short or damaged'
    for path in _newest_first(folder if named is None else named.parent):
        if path == named:
            continue
        if is_whole(path):
            print_log(f'{wrong}. Taking {path}, the newest that is whole', logger='current', level=logging.WARNING)
            return path
        wrong += f'; {path} is cut short or damaged'
    raise FileNotFoundError(f'{wrong}: name the checkpoint')


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a complete checkpoint of today's ``torch.save``, a zip archive whose checksums are right.

    Raises:
        OSError: If it cannot be opened.
    """
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is None and any(name.endswith('/data.pkl') for name in archive.namelist())
        except Exception:  # zipfile has no common error for what damage can do
            return False


def _named(note: Path) -> tuple[Path | None, str]:
    """The file that ``last_checkpoint`` names, and what is wrong with the note: one of the two, or both."""
    if not note.is_file():
        return None, f'{note.parent}: has no last_checkpoint, which training writes with its first checkpoint'
    try:
        named = Path(read_note(note))
    except ValueError as error:
        return None, str(error)
    for path in (named, note.parent / named.name):
        if os.path.isfile(path):  # which, unlike path.is_file(), takes names that are too long as well
            return path, ''
    return None, f'{note}: names {short(str(named))}, but there is no such file, nor {short(named.name)} beside it'


def _newest_first(folder: Path) -> list[Path]:
    """By the time of writing: a number may be of a longer training that was in this folder before."""
    numbered = [path for path in folder.glob('*.pth') if _NUMBERED.fullmatch(path.name)]
    return sorted(numbered, key=lambda path: path.stat().st_mtime_ns, reverse=True)
