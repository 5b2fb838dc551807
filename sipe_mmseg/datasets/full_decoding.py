"""Pictures decoded to the last pixel, to find those whose beginning and end are whole and whose middle is not."""

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import mmcv

from ..processors import num_processors
from .image_files import open_image
from .messages import unreadable

_MARKS = ('Corrupt JPEG data', 'Premature end of JPEG')  # how libjpeg begins what it warns of
# Some cameras and editors leave a few bytes before a marker, and every pixel is there; a damaged sector of a disk is
# more of them.
_EXTRANEOUS = re.compile(r'(\d+) extraneous bytes')
_SECTOR = 512
_STDERR = 2
_MOST_SAID = 1 << 16  # bytes about one picture
_PART = 8  # pictures a process takes at a time


@dataclass(frozen=True)
class Damage:
    """What decoding says of a picture.

    Attributes:
        path: The file.
        text: What is wrong.
        pixels_lost: Whether pixels are missing or wrong for certain; else there are bytes in it that belong to none.
    """

    path: str
    text: str
    pixels_lost: bool


def find_damage(
    paths: Sequence[str], on_pictures: Callable[[int], None] = lambda number: None, jobs: int | None = None
) -> list[Damage]:
    """Decode pictures, in several processes.

    libjpeg puts grey in the place of what it cannot decode, and says so on standard error alone: each process reads its
    own.

    Args:
        paths: Files whose headers can be read.
        on_pictures: Told how many pictures have just been decoded.
        jobs: Number of processes; by default that of the processors.

    Returns:
        The damaged ones, in the order of ``paths``.
    """
    found = []
    with ProcessPoolExecutor(jobs or num_processors(), initializer=_start) as pool:
        for damage in pool.map(_decode, paths, chunksize=_PART):
            if damage is not None:
                found.append(damage)
            on_pictures(1)
    return found


def _start() -> None:
    """Have standard error of a process of the pool go to a file."""
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
    cv2.setNumThreads(0)


def _decode(path: str) -> Damage | None:
    os.lseek(_STDERR, 0, os.SEEK_SET)
    os.ftruncate(_STDERR, 0)
    try:
        with open_image(path) as image:
            if image.format not in ('JPEG', 'MPO'):
                image.load()
        readable = mmcv.imread(path) is not None  # cv2.imread crashes on names that are not UTF-8
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        return Damage(path, unreadable(error, 'image'), True)
    if not readable:
        return Damage(path, 'not a readable image', True)
    said = os.pread(_STDERR, _MOST_SAID, 0).decode('utf-8', 'replace')
    lines = [line for line in said.splitlines() if line.startswith(_MARKS)]
    return Damage(path, lines[0], any(map(_is_certain, lines))) if lines else None


def _is_certain(line: str) -> bool:
    extraneous = _EXTRANEOUS.search(line)
    return extraneous is None or int(extraneous[1]) >= _SECTOR
