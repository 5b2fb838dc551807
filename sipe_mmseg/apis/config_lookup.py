"""Configs by path, work directory or name, and the checkpoint that belongs to a work directory."""

import difflib
import os
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def find_config(source: str | os.PathLike[str]) -> Path:
    """The config file that a path, a work directory or a name stands for.

    Args:
        source: Path of a config file; or a work directory, in which training leaves a copy of its config; or the name
            of a shipped config, with or without ``.py``, such as ``sipe_r50_1xb16-5e_voc12aug-512x512``.

    Raises:
        FileNotFoundError: If it is none of these.
        ValueError: If a work directory has several configs, or several shipped configs have the name.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _config_of_work_dir(path)
    if path.name == str(source) and path.suffix in ('', '.py'):
        return _shipped_config(path.stem)
    raise FileNotFoundError(f'{source}: there is neither a config file nor a work directory of this name')


def find_checkpoint(work_dir: str | os.PathLike[str]) -> Path:
    """The checkpoint that a work directory's ``last_checkpoint`` names; where the folder was moved, the one beside it.

    Raises:
        FileNotFoundError: If there is no ``last_checkpoint``, or no file of that name.
    """
    note = Path(work_dir).expanduser() / 'last_checkpoint'
    if not note.is_file():
        raise FileNotFoundError(
            f'{work_dir}: has no last_checkpoint, which training writes with its first checkpoint: name the checkpoint'
        )
    named = Path(note.read_text().strip())
    for path in (named, note.parent / named.name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f'{note}: names {named}, but there is no such file, nor {named.name} beside it: name the checkpoint'
    )


def shipped_configs() -> Path:
    """The folder of configs beside the package (in the repository) or inside it (``.mim``, in a wheel).

    Raises:
        FileNotFoundError: If this installation came without configs.
    """
    places = [_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs']
    for place in places:
        if (place / 'sipe').is_dir():
            return place
    raise FileNotFoundError(
        f'this installation of sipe_mmseg comes without configs: looked in {places[0]} and {places[1]}. '
        'Give the path of a config file'
    )


def _config_of_work_dir(folder: Path) -> Path:
    configs = sorted(folder.glob('*.py'))
    if not configs:
        raise FileNotFoundError(
            f'{folder}: has no config file; training leaves a copy of its own in its work directory'
        )
    if len(configs) > 1:
        names = ', '.join(path.name for path in configs)
        raise ValueError(f'{folder}: has {len(configs)} config files ({names}): name the one to use')
    return configs[0]


def _shipped_config(name: str) -> Path:
    try:
        root = shipped_configs()
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{name}: no such config file or work directory, and {error}') from error
    known = [path for path in sorted(root.rglob('*.py')) if '_base_' not in path.parts]
    found = [path for path in known if path.stem == name]
    if not found:
        close = difflib.get_close_matches(name, [path.stem for path in known], n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'they are in {root}'
        raise FileNotFoundError(f'{name}: no such config file or work directory, and no shipped config; {hint}')
    if len(found) > 1:
        raise ValueError(f'{name}: is the name of several configs: {", ".join(str(path) for path in found)}')
    return found[0]
