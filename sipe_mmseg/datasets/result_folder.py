"""Folders with one result an image, the settings that all of them were made with, and what is still missing."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .atomic_write import remove_leftovers, write_json
from .image_files import first_few, list_files
from .json_files import is_deep, load_json
from .messages import counted, short, shown

SETTINGS_FILE = 'settings.json'

_CONTENTS = {  # by suffix, what is in a folder of results, and which command writes it
    '.png': ('label maps', '`sipe-mmseg labels --out`'),
    '.npz': ('CAM files', '`sipe-mmseg labels --cams`'),
}
_NOT_OURS = 'name another folder, or, if a command made this one, remove the folder and make it again'
_RUN_AGAIN = 'The command that wrote the folder writes what is missing, if it is run again with the same split'
_OWN_KEYS = {'tool', 'version'}
_SHOWN_CHANGES = 6
_SHOWN_LENGTH = 60
_SHOWN_ALIKE = 15  # characters before the first that differs


@dataclass(frozen=True)
class ResultFolder:
    """A folder of ``<image id><suffix>``, all made with the settings in its ``settings.json``.

    Attributes:
        root: The folder.
        suffix: How the names of the results end: ``'.png'`` for label maps, ``'.npz'`` for CAM files.
    """

    root: Path
    suffix: str

    def path(self, image_id: str) -> Path:
        """File of an image.

        Raises:
            ValueError: If the id would name a file outside the folder, or a hidden one.
        """
        parts = image_id.replace('\\', '/').split('/')
        outside = Path(image_id).drive or any(not part or part.startswith('.') for part in parts)
        if outside or '\0' in image_id or not _is_encodable(image_id):
            raise ValueError(
                f'image id {shown(image_id)}: its result would not lie in {self.root}. An id is a file name without '
                'suffix, or a path below the image folder such as folder/name'
            )
        return self.root / f'{image_id}{self.suffix}'

    def missing(self, image_ids: Iterable[str]) -> list[str]:
        """Images without a result, in their order. Every file there is a whole one, but those that are empty.

        A file that was written just before the power went may be empty.
        """
        return [image_id for image_id in image_ids if not _has_content(self.path(image_id))]

    def require(self, image_ids: Iterable[str]) -> None:
        """Make sure that every image has a result.

        Raises:
            FileNotFoundError: If there is no such folder, or results are missing; the message counts them.
        """
        if not self.root.is_dir():
            raise FileNotFoundError(f'{self.root}: no such folder')
        wanted = list(image_ids)
        missing = self.missing(wanted)
        if missing:
            raise FileNotFoundError(
                f'{self.root}: {len(missing)} of {len(wanted)} images have no {self.suffix} file: '
                f'{first_few(missing)}. {self._way_on() if len(missing) == len(wanted) else _RUN_AGAIN}'
            )

    def _way_on(self) -> str:
        """What the folder has, as no wanted image is in it, and how there would be something."""
        own = list_files(self.root, (self.suffix,))
        if own:
            return (
                f'It has {len(own)} {self.suffix} file{"s"[: len(own) > 1]} of other images: {first_few(own)}. Name '
                'the data set and the split that the folder was made of'
            )
        others = [
            f'{len(found)} {suffix} file{"s"[: len(found) > 1]} ({contents})'
            for suffix, (contents, _) in _CONTENTS.items()
            if (found := list_files(self.root, (suffix,)))
        ]
        contents, source = _CONTENTS[self.suffix]
        return f'It has {" and ".join(others) or "no results"}; {contents} come from {source}'

    def settings(self) -> dict[str, Any] | None:
        """The settings that the files are made with; None where there is no ``settings.json``.

        Raises:
            ValueError: If that is no such file.
        """
        path = self.root / SETTINGS_FILE
        try:
            settings = load_json(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f'{error}; {_NOT_OURS}') from error
        if not isinstance(settings, dict) or is_deep(settings):
            raise ValueError(f'{path}: not the settings of a folder of results; {_NOT_OURS}')
        return settings

    def digest(self) -> str:
        """SHA-256 of the settings; empty where there are none."""
        settings = self.settings()
        return '' if settings is None else hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def start(self, settings: Mapping[str, Any], overwrite: Iterable[str] | None = None) -> None:
        """Get ready to write: make the folder, or make sure that its files are made with these very settings.

        Removes what a killed run left half written.

        Args:
            settings: Everything that decides the results, the ``tool`` and its ``version`` among it.
            overwrite: Ids of all images whose results will be here. Remove results that are made with other settings,
                if they are of these.

        Raises:
            ValueError: If there are results made with other settings (the message names each of them), or results
                without any, or a ``settings.json`` of another program, or a link by which results would be written
                elsewhere; or if there are files to remove that are of other images.
        """
        wanted = json.loads(json.dumps(settings, default=str))
        remove_leftovers(self.root)
        refuse_links(self.root)
        found = self.settings()
        if found == wanted:
            return
        if found is not None and not found.keys() >= _OWN_KEYS:
            raise ValueError(f'{self.root / SETTINGS_FILE}: not written by this tool; name another folder')
        results = list_files(self.root, (self.suffix,)) if self.root.is_dir() else []
        if found is None and results:
            raise ValueError(
                f'{self.root}: has {len(results)} {self.suffix} files and no {SETTINGS_FILE}, so it was not made by '
                'this tool; name another folder'
            )
        if found is not None and results and overwrite is None:
            raise ValueError(
                f'{self.root}: its {len(results)} {self.suffix} files are made with other settings:\n'
                + changed_settings(found, wanted)
                + '\nName another folder, or remove these files and make all anew with --overwrite'
            )
        foreign = sorted(set(results) - {f'{each}{self.suffix}' for each in overwrite or ()})
        if foreign:
            raise ValueError(
                f'{self.root}: {counted(len(foreign), "file is", "files are")} of no image of this data set, and '
                f'--overwrite removes no others: {first_few(foreign)}. Move away what you want to keep, remove the '
                'rest, or name another folder'
            )
        for result in results:
            (self.root / result).unlink()
        write_json(self.root / SETTINGS_FILE, wanted)


def refuse_links(root: str | os.PathLike[str]) -> None:
    """Makes sure that what is written below a folder stays there. The folder itself may be a link.

    Raises:
        ValueError: If a folder in it is a link that leads out of it.
    """
    place = os.path.realpath(root)
    for folder, subfolders, _ in os.walk(root):
        for name in subfolders:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(place):
                raise ValueError(
                    f'{path}: a link to {os.path.realpath(path)}, so that results would be written outside {root}; '
                    'remove the link, or name another folder'
                )


def image_id(sample: Mapping[str, Any]) -> str:
    """What names an image's results: its ``img_id``, or its file name without suffix where the data set has no ids."""
    return str(sample.get('img_id') or Path(sample['img_path']).stem)


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def source_settings(folder: ResultFolder) -> dict[str, str]:
    """What a folder made from ``folder`` notes about it: the digest of its settings, or its place if it has none."""
    digest = folder.digest()
    return {'settings_sha256': digest} if digest else {'folder': os.path.realpath(folder.root)}


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """One line for each setting that is not the same in both, by its dotted name; the first few of them.

    Long values are cut to the part in which they begin to differ.
    """
    lines = ['  {}: was {}, now {}'.format(name, *_cut(before, after)) for name, before, after in _changes(old, new)]
    if len(lines) > _SHOWN_CHANGES:
        lines[_SHOWN_CHANGES:] = [f'  ... and {len(lines) - _SHOWN_CHANGES} more']
    return '\n'.join(lines)


_NOT_SET = object()


def _has_content(path: Path) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size > 0


def _is_encodable(name: str) -> bool:
    """Whether a file may have this name."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _changes(old: Any, new: Any, name: str = '') -> Iterable[tuple[str, str, str]]:
    """Dotted name, old and new value of each setting that differs: all of a list that has another length, or of a dict
    that has another type.
    """
    if isinstance(old, dict) and isinstance(new, dict) and (not name or old.get('type') == new.get('type')):
        keys: Iterable[Any] = {**old, **new}
        before, after = old, new
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        keys = range(len(old))
        before, after = dict(enumerate(old)), dict(enumerate(new))
    else:
        if old != new:
            yield short(name), _text(old), _text(new)
        return
    for key in keys:
        yield from _changes(before.get(key, _NOT_SET), after.get(key, _NOT_SET), f'{name}.{key}' if name else str(key))


def _text(value: Any) -> str:
    return 'not set' if value is _NOT_SET else json.dumps(value)


def _cut(*texts: str) -> list[str]:
    """Texts cut to the part in which they begin to differ."""
    if max(map(len, texts)) <= _SHOWN_LENGTH:
        return list(texts)
    differing = (place for place, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)
    alike = next(differing, min(map(len, texts)))
    start = max(0, alike - _SHOWN_ALIKE)
    end = start + _SHOWN_LENGTH
    return ['...'[: 3 * (start > 0)] + text[start:end] + '...'[: 3 * (end < len(text))] for text in texts]
