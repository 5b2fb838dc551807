"""Which checkpoint of a work directory is the latest that is whole: the one place that everything asks."""

import logging
import os
import pickle
import re
import zipfile
from pathlib import Path

from mmengine.logging import print_log

from ..compat import is_old_format, load_local_checkpoint
from ..datasets.messages import is_of_machine, short
from .config_lookup import read_note

NOTE = 'last_checkpoint'
_NUMBERED = r'(?:epoch|iter)_(\d+)\.pth'  # not best_*.pth, from which no training can go on
_BLOCK = 1 << 20
_DAMAGED = 'is cut short or damaged'


def find_checkpoint(
    work_dir: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None, filename_tmpl: str | None = None
) -> Path:
    """The checkpoint that a work directory's ``last_checkpoint`` names: the one beside it, so that a copy has its own.

    Only where none of that name is beside it, it is the one at the path that is written there. Where that is missing
    too, or cut short by a full disk or a crash, it is the newest whole ``epoch_*.pth`` or ``iter_*.pth``, and a warning
    says so. Of one training the highest number is the newest; time tells trainings apart that have used one folder.

    Args:
        work_dir: The work directory.
        folder: Where the training writes its checkpoints, if elsewhere.
        filename_tmpl: How it names them, such as ``'epoch_{}.pth'``, if otherwise.

    Raises:
        FileNotFoundError: If there is no whole checkpoint; the message says what there is.
        OSError: If one of them cannot be read.
        MemoryError: If there is too little memory to tell whether one of them is whole.
    """
    note = Path(work_dir).expanduser() / NOTE
    folders = [note.parent] if folder is None else [Path(folder), note.parent]
    named, wrong = _named(note, folders)
    if named is not None and not wrong:
        fault = _fault(named)
        if not fault:
            return named
        wrong = f'{named} {fault}'
        folders.append(named.parent)
    candidates = _newest_first(folders, filename_tmpl)
    for path in candidates:
        if path == named:
            continue
        fault = _fault(path)
        if not fault:
            path = _furthest(path, candidates, filename_tmpl)
            print_log(f'{wrong}. Taking {path}, the newest that is whole', logger='current', level=logging.WARNING)
            return path
        wrong += f'; {path} {fault}'
    raise FileNotFoundError(f'{wrong}: name the checkpoint')


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a complete checkpoint of ``torch.save``.

    Today's format is a zip archive, whose checksums must be right. That of torch before 1.6 has none: it must load.

    Raises:
        OSError: If it cannot be read, which says nothing of what is in it.
        MemoryError: If there is too little memory to load it.
    """
    return not _fault(path)


def _fault(path: str | os.PathLike[str]) -> str:
    """What keeps a file from being a whole checkpoint, to follow its name; nothing if it is one."""
    fault = _DAMAGED
    with open(path, 'rb') as file:
        try:
            if is_old_format(path):
                load_local_checkpoint(os.fspath(path), 'cpu')
                return ''
            with zipfile.ZipFile(file) as archive:
                is_sound = archive.testzip() is None
                return '' if is_sound and any(name.endswith('/data.pkl') for name in archive.namelist()) else _DAMAGED
        except pickle.UnpicklingError as error:
            fault = f'was refused: {str(error).partition(" was refused: ")[2]}'
        except Exception as error:  # zipfile has no common error for what damage can do
            cause = error.__cause__ or error
            if isinstance(cause, MemoryError) or 'allocate memory' in str(cause):
                raise MemoryError(f'{os.fspath(path)} could not be loaded: {error}') from error
            if is_of_machine(error):
                raise
        file.seek(0)
        while file.read(_BLOCK):  # zipfile and torch hide an error of the disk behind their own
            pass
        return fault


def _named(note: Path, folders: list[Path]) -> tuple[Path | None, str]:
    """The file that ``last_checkpoint`` names, and what is wrong with the note: one of the two, or both."""
    if not note.is_file():
        return None, f'{note.parent}: has no {NOTE}, which training writes with its first checkpoint'
    try:
        named = Path(read_note(note))
    except ValueError as error:
        return None, str(error)
    for path in [*(folder / named.name for folder in folders), named]:
        if os.path.isfile(path):  # which, unlike path.is_file(), takes names that are too long as well
            return path, ''
    return None, f'{note}: names {short(str(named))}, but there is no such file, nor {short(named.name)} beside it'


def is_numbered(name: str, filename_tmpl: str | None = None) -> bool:
    """Whether a training that writes ``epoch_*.pth``, ``iter_*.pth`` or such names may have written a file."""
    return _step(name, filename_tmpl) is not None


def _step(name: str, filename_tmpl: str | None) -> int | None:
    """The number in the name of a checkpoint; None if it is no such name."""
    patterns = [_NUMBERED]
    if filename_tmpl is not None:
        patterns.append(r'(\d+)'.join(map(re.escape, re.split(r'\{.*?\}', filename_tmpl))))
    match = next(filter(None, (re.fullmatch(pattern, name) for pattern in patterns)), None)
    return None if match is None else int(match[1]) if match.re.groups else 0


def _newest_first(folders: list[Path], filename_tmpl: str | None) -> list[Path]:
    """By the time of writing: a number may be of a longer training that was in this folder before."""
    found = {path for folder in folders for path in folder.glob('*') if is_numbered(path.name, filename_tmpl)}
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _furthest(newest: Path, candidates: list[Path], filename_tmpl: str | None) -> Path:
    """The highest number of the training that has written a checkpoint: a clock can be set back, a copy has new times.

    Nothing is loaded where no number is higher.
    """
    steps = {
        path: _step(path.name, filename_tmpl) or 0
        for path in candidates
        if re.sub(r'\d+', '', path.name) == re.sub(r'\d+', '', newest.name)
    }
    for path in sorted(steps, key=lambda path: steps[path], reverse=True):
        if steps[path] <= steps[newest]:
            break
        if is_whole(path) and _training(path) is not None and _training(path) == _training(newest):
            return path
    return newest


def _training(path: Path) -> str | None:
    """The name that MMEngine gave a training when it was begun, which a resumed one keeps; None if there is none."""
    try:
        content = load_local_checkpoint(os.fspath(path), 'cpu')
        return str(content['message_hub']['runtime_info']['experiment_name'])
    except (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, TypeError):
        return None  # not of MMEngine, or refused: whoever loads it is told why
