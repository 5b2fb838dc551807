"""The inputs of a prediction one by one: what each is called, where its pixels come from, what is in it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
import numpy.typing as npt

from ..datasets.image_files import IMAGE_SUFFIXES, first_few, no_pictures
from ..datasets.image_labels import foreground_indices
from ..datasets.messages import closest, short

ImageLabels = Sequence[str | int] | None
_SHOWN_KEYS = 3
_COMPARED = 1000  # names of pictures that a wrong key is held against

Labels = Sequence[ImageLabels] | Sequence[str | int] | Mapping[str, ImageLabels] | None


@dataclass(frozen=True)
class ImageSource:
    """One input.

    Attributes:
        place: Its place among the inputs, from 0.
        name: Path or URL as given, or ``inputs[<place>]`` of anything else.
        image: Path, URL or BGR array; or something that is no image.
        file_name: What files about it are called, without suffix; no other input of the call has it.
        labels: Foreground indices (0 is the first class after the background), or None to ask the classifier.
    """

    place: int
    name: str
    image: Any
    file_name: str
    labels: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class Given:
    """What an argument of a prediction stands for.

    Attributes:
        images: The images to predict, one by one.
        left_out: Files of a folder that are no images by their names.
    """

    images: list[Any]
    left_out: list[str]


def given_images(inputs: Any) -> Given:
    """The images of a list, of a folder, or the single one that is given.

    Args:
        inputs: A path, URL or BGR array; a list of these; or a folder, of which the files are taken whose names end as
            those of images do (``IMAGE_SUFFIXES``), sorted, without hidden ones and those in folders below it.

    Raises:
        FileNotFoundError: If a folder has no images.
    """
    if isinstance(inputs, list | tuple):
        return Given([as_path(image) for image in inputs], [])
    inputs = as_path(inputs)
    if not isinstance(inputs, str) or not os.path.isdir(inputs):
        return Given([inputs], [])
    files = sorted(str(path) for path in Path(inputs).iterdir() if path.is_file() and not path.name.startswith('.'))
    images = [file for file in files if file.lower().endswith(IMAGE_SUFFIXES)]
    if not images:
        raise FileNotFoundError(
            f'{inputs}: has no pictures, whose names end with {", ".join(IMAGE_SUFFIXES)} ({len(files)} other files); '
            'folders below it are not looked into'
        )
    return Given(images, [file for file in files if file not in set(images)])


def left_out_line(left_out: Sequence[str]) -> str:
    """What to tell of the files of a folder that were left out; at least one."""
    names = first_few(os.path.basename(path) for path in left_out)
    return f'{no_pictures(left_out)}, and left out: {names}'


def image_sources(
    images: Sequence[Any], labels: Labels, classes: Sequence[str], first_number: int = 0
) -> list[ImageSource]:
    """Give each input its names and labels.

    Args:
        images: Paths, URLs or BGR arrays.
        labels: As in :class:`~sipe_mmseg.apis.SIPEInferencer`.
        classes: All classes, background first.
        first_number: Number that names the files of the first array.

    Raises:
        TypeError: If ``labels`` has a wrong form.
        ValueError: If labels are no classes, or not as many as images.
    """
    names = _names(images)
    files: dict[str, None] = {}
    for image in images:
        stem = _stem(image) if isinstance(image, str) else f'{first_number:08d}'
        first_number += not isinstance(image, str)
        candidate, number = stem, 1
        while candidate in files:
            number += 1
            candidate = f'{stem}_{number}'
        files[candidate] = None
    indices = [
        None if own is None else _foreground(own, classes, f'labels of {name}')
        for own, name in zip(_labels_by_place(labels, names), names, strict=True)
    ]
    return [ImageSource(place, *row) for place, row in enumerate(zip(names, images, files, indices, strict=True))]


def unmatched_line(labels: Labels, images: Sequence[Any], source: str = 'labels') -> str:
    """What to tell of label keys that mean no picture, while there are pictures without labels; else nothing.

    Args:
        labels: As in :func:`image_sources`.
        images: As there.
        source: What the labels come from.
    """
    if not isinstance(labels, Mapping):
        return ''
    names = _names(images)
    keys = _keys_by_place(labels, names)
    used = {key for found in keys for key in found}
    unused = [key for key in labels if key not in used]
    left = list(dict.fromkeys(name for name, found in zip(names, keys, strict=True) if not found))
    if not unused or not left:
        return ''
    files = [PurePosixPath(name).name for name in left[:_COMPARED]]
    stems = {PurePosixPath(file).stem: file for file in files}
    told = []
    for key in map(str, unused[:_SHOWN_KEYS]):
        close = closest(PurePosixPath(_plain(key)).stem, stems)
        told.append(short(key) + (f' (did you mean {stems[close]}?)' if close else ''))
    return (
        f'{source}: {len(unused)} of {len(labels)} keys name{"s"[: len(unused) == 1]} no picture here: '
        f'{first_few(told, _SHOWN_KEYS)}{", ..." if len(unused) > _SHOWN_KEYS else ""}; {len(left)} '
        f'picture{"s"[: len(left) > 1]} without labels {"was" if len(left) == 1 else "were"} left to the classifier '
        f'({first_few(files, _SHOWN_KEYS)})'
    )


def as_path(image: Any) -> Any:
    """``pathlib`` objects as strings, anything else as it is."""
    return os.fspath(image) if isinstance(image, os.PathLike) else image


def _names(images: Sequence[Any]) -> list[str]:
    return [image if isinstance(image, str) else f'inputs[{place}]' for place, image in enumerate(images)]


def _stem(path: str) -> str:
    """File name without suffix of a path or URL."""
    local = urlparse(path).path if '://' in path else path.replace(os.sep, '/')
    return PurePosixPath(local).stem or 'image'


def _labels_by_place(labels: Labels, names: Sequence[str]) -> list[ImageLabels]:
    if labels is None:
        return [None] * len(names)
    if isinstance(labels, Mapping):
        keys = _keys_by_place(labels, names)
        if names and not any(keys):
            raise ValueError(
                f'labels: none of its keys ({_shown(labels)}) is the path, the file name or the file name without '
                f'suffix of an input ({_shown(names)})'
            )
        pictures: dict[Any, str] = {}
        for name, found in zip(names, keys, strict=True):
            if found and _plain(pictures.setdefault(found[0], name)) != _plain(name):
                raise ValueError(
                    f'labels: {found[0]} may be {pictures[found[0]]} or {name}; write more of the path, or the suffix '
                    'too'
                )
        return [labels[found[0]] if found else None for found in keys]
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise TypeError(
            f"labels: must be a list of classes for each input, such as [['cat'], ['cat', 'dog']], or a dict from "
            f'file names to such lists, not {labels!r}'
        )
    if len(names) == 1 and all(_is_class(entry) for entry in labels):
        return [labels]  # type: ignore[list-item]
    if any(_is_class(entry) for entry in labels):
        raise TypeError(
            f"labels: {len(names)} inputs need one list of classes each, such as [['cat'], ['cat', 'dog']], not "
            f'{list(labels)!r}'
        )
    if len(labels) != len(names):
        raise ValueError(f'labels: {len(labels)} lists of classes for {len(names)} inputs')
    return list(labels)  # type: ignore[arg-type]


def _foreground(own: Any, classes: Sequence[str], where: str) -> npt.NDArray[np.int64]:
    if isinstance(own, str) or not isinstance(own, Sequence | np.ndarray):
        raise TypeError(f"{where}: must be a list of classes, such as ['cat'], or None, not {own!r}")
    found = []
    for entry in own:
        if isinstance(entry, int | np.integer) and not isinstance(entry, bool):
            if not 0 < entry < len(classes):
                raise ValueError(
                    f'{where}: class index {entry}, but foreground classes have the indices 1 to {len(classes) - 1} '
                    '(0 is the background, which every image has)'
                )
            found.append(classes[int(entry)])
        else:
            found.append(entry)
    return np.array(foreground_indices(found, classes, where), dtype=np.int64)


def _is_class(entry: Any) -> bool:
    return isinstance(entry, str | int | np.integer)


def _keys_by_place(labels: Mapping[str, ImageLabels], names: Sequence[str]) -> list[list[str]]:
    """The keys of a label mapping that mean each input; the one that says most of its path comes first."""
    plain = {_plain(key): key for key in labels}
    return [[plain[tail] for tail in _tails(name) if tail in plain] for name in names]


def _plain(key: Any) -> str:
    """A key as the tails of a path are written."""
    text = str(as_path(key))
    return text if '://' in text else os.path.normpath(text.replace('\\', '/')).replace(os.sep, '/')


def _tails(name: str) -> list[str]:
    """What a label mapping may call an input: its whole path, or its end from any folder on; each also without suffix.

    The longest come first.
    """
    path = PurePosixPath(urlparse(name).path if '://' in name else _plain(name))
    parts = path.parts
    tails = [name]
    for start in range(len(parts)):
        tail = PurePosixPath(*parts[start:])
        tails += [str(tail), str(tail.with_name(path.stem))] if path.name else []
    return tails


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    return ', '.join(map(str, names[:3])) + (', ...' if len(names) > 3 else '')
