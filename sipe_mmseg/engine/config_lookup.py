"""Configs by path, work directory or name, and where configs and tools are."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..datasets.image_files import first_few
from ..datasets.messages import closest, shown

_NOTE_LENGTH = 4096  # the longest path of Linux
_CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029]')
_PACKAGE = Path(__file__).parents[1]
_MARKS = {'configs': 'sipe', 'tools': 'generate_labels.py'}  # what tells our folder from others of that name, mmseg's


def find_config(source: str | os.PathLike[str], pipelines: bool | None = False) -> Path:
    """The config file that a path, a work directory or a name stands for.

    Args:
        source: Path of a config file; or a work directory, in which training leaves a copy of its config; or the name
            of a shipped config, with or without ``.py``, such as ``sipe_r50_1xb16-5e_voc12aug-512x512``.
        pipelines: Which names a message about one that there is not may propose: those of pipelines (True), all others
            (False), or both (None).

    Raises:
        FileNotFoundError: If it is none of these; the message proposes what is like it.
        ValueError: If a work directory has several configs.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    named = path.name == str(source) and path.suffix in ('', '.py')
    if path.is_dir() and (any(path.glob('*.py')) or not (named and path.name in shipped_names())):
        return _config_of_work_dir(path)
    if path.name == str(source) and path.suffix in ('', '.py'):
        return _shipped_config(path.stem, pipelines)
    near = _similar_path(path)
    raise FileNotFoundError(f'{source}: no such file or folder' + (f'; did you mean {near!r}?' if near else ''))


def find_dataset_config(source: str | os.PathLike[str]) -> Path:
    """The config file of a data set: ``voc12`` and the other shipped data sets, or anything :func:`find_config` knows.

    Raises:
        FileNotFoundError: If it is none of these.
        ValueError: As :func:`find_config`.
    """
    path = Path(source)
    datasets = _shipped_datasets()
    if path.name in datasets and path.name == str(source) and not path.is_file():
        return datasets[path.name]
    try:
        return find_config(source)
    except FileNotFoundError as error:
        if not datasets:
            raise
        raise FileNotFoundError(f'{error}; the shipped data sets are {", ".join(sorted(datasets))}') from error


def find_script(path: str) -> str:
    """The Python file that a pipeline calls ``tools/...`` or ``configs/...``: in the working directory, or as shipped.

    ``tools`` of another project, such as a checkout of MMSegmentation, may have files of the same names: they count
    only if they are written ``./tools/...``.

    Args:
        path: Any path.

    Returns:
        Path of the shipped file if there is one and none of ours in the working directory, else ``path`` itself.
    """
    folder, _, rest = path.partition('/')
    if folder in _MARKS and not (Path(path).exists() and (folder != 'tools' or Path(folder, _MARKS[folder]).exists())):
        try:
            shipped = _shipped(folder) / rest
        except FileNotFoundError:
            return path
        return str(shipped) if shipped.is_file() else path
    return path


def read_note(path: str | os.PathLike[str]) -> str:
    """The one line of text, such as a path, that a file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    with open(path, 'rb') as file:
        content = file.read(_NOTE_LENGTH + 1)
    text = content.decode('utf-8', 'replace').strip()
    if not text or _CONTROL.search(text) or '\ufffd' in text or len(content) > _NOTE_LENGTH:
        raise ValueError(f'{path}: holds {shown(text)}; it should hold one line of text, such as the path of a file')
    return text


def shipped_configs() -> Path:
    """The folder of configs beside the package (in the repository) or inside it (``.mim``, in a wheel).

    Raises:
        FileNotFoundError: If this installation came without configs.
    """
    return _shipped('configs')


def shipped_tools() -> Path:
    """The folder of tools beside the package (in the repository) or inside it (``.mim``, in a wheel).

    Raises:
        FileNotFoundError: If this installation came without tools.
    """
    return _shipped('tools')


def shipped_names() -> dict[str, Path]:
    """The shipped configs, pipelines among them, by the names that :func:`find_config` knows them by.

    Raises:
        FileNotFoundError: If this installation came without configs.
    """
    root = shipped_configs()
    return {path.stem: path for path in sorted(root.rglob('*.py')) if '_base_' not in path.parts}


def _shipped(folder: str) -> Path:
    places = [_PACKAGE / '.mim' / folder, _PACKAGE.parent / folder]
    for place in places:
        if (place / _MARKS[folder]).exists():
            return place
    raise FileNotFoundError(
        f'this installation of sipe_mmseg comes without {folder}: looked in {places[0]} and {places[1]}. '
        'Install the wheel, or give the path of a file'
    )


def _shipped_datasets() -> dict[str, Path]:
    """Data sets for SIPE by name; the others, such as ``voc12_irn``, are parts of those for later stages."""
    try:
        folder = shipped_configs() / '_base_' / 'datasets'
    except FileNotFoundError:
        return {}
    return {path.stem: path for path in folder.glob('*.py') if '_' not in path.stem}


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


def _shipped_config(name: str, pipelines: bool | None) -> Path:
    try:
        known = shipped_names()
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{name}: no such config file or work directory, and {error}') from error
    if name not in known:
        wanted = [each for each, path in known.items() if pipelines in (None, path.parent.name == 'pipelines')]
        raise FileNotFoundError(
            f'{name}: no such config file or work directory, and no shipped config; {_proposal(name, wanted)}'
        )
    return known[name]


def _proposal(name: str, names: Sequence[str]) -> str:
    """What may be meant: those of the names that this one is a part of, else one that is like it, else a path."""
    close = closest(name, names) or _similar_path(Path(name))
    longer = [repr(each) for each in names if name.lower() in each] or [repr(close)] * bool(close)
    return f'did you mean {first_few(longer, 3)}?' if longer else '`sipe-mmseg configs` lists them'


def _similar_path(path: Path) -> str | None:
    """A path that is there, or the beginning of one, in which a single name is another than in this one."""
    there = next((folder for folder in path.parents if folder.is_dir()), Path())
    first, *rest = path.relative_to(there).parts
    close = closest(first, {*os.listdir(there)} - {first})
    if close is None:
        return None
    whole = Path(there, close, *rest)
    return str(whole if whole.exists() else there / close)
