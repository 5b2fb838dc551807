"""Image folders, listed once, and the check of all files before training starts."""

import io
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import numpy.typing as npt
from PIL import Image

from ..refinement.label_values import IGNORE_INDEX
from .json_files import require_file
from .messages import counted, is_of_machine, short, shown, unreadable

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

MIN_SIDE = 16
"""Smallest height and width in pixels: one cell of the stride-16 grid (SIPE, section 3.1)."""

MAX_PIXELS = 178_956_970
"""Most pixels of an image, where nothing else is said: PIL takes one of more for a decompression bomb."""

SHOWN_PROBLEMS = 10

# What OpenCV reads, too; JPEG is also MPO. PIL knows others, such as EPS, for which it would start another program.
_FORMATS = ('BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP')

# Bytes every complete file ends with (JPEG: end-of-image marker; PNG: the type of its last chunk), and how far from the
# end they may stand: some cameras and editors append padding. Files that end otherwise are decoded to be sure.
_FINAL_BYTES = {'JPEG': b'\xff\xd9', 'MPO': b'\xff\xd9', 'PNG': b'IEND'}
_TAIL = 64

_PART = 64  # samples a thread checks at a time
_MOSTLY_WAITING = 4  # from so many times the seconds of computing on, it is the disk that takes the time

_ORIENTATION_TAG = 0x0112  # Exif 2.3, table 4: values above 4 exchange rows and columns
_MASK_MODES = ('P', 'L')


class ImageFolder:
    """The image files in and below one folder.

    The folder is listed once (hidden files and folders are skipped, links are followed); no file is opened.

    Args:
        root: The folder.
        suffix: How the names of images end; None takes every suffix in ``IMAGE_SUFFIXES``. Upper and lower case are the
            same.

    Attributes:
        root: The folder.
        paths: Relative paths of all images, with ``/`` as separator, sorted.

    Raises:
        FileNotFoundError: If there is no such folder.
    """

    def __init__(self, root: str | os.PathLike[str], suffix: str | None = None) -> None:
        self.root = os.fspath(root)
        self.suffix = suffix
        self.paths = list_files(self.root, IMAGE_SUFFIXES if suffix is None else (suffix,))
        self._ids = {path: path[: -len(suffix)] if suffix else os.path.splitext(path)[0] for path in self.paths}
        self._by_id: dict[str, list[str]] = {}
        for path, image_id in self._ids.items():
            self._by_id.setdefault(image_id, []).append(path)

    def image_id(self, path: str) -> str:
        """One of ``paths`` without its suffix: what names an image in lists, label files and outputs."""
        return self._ids[path]

    def find(self, key: str, where: str) -> str | None:
        """Relative path of the image that a list or label file calls ``key``.

        Args:
            key: Path relative to the folder (a plain file name if the image lies in the folder itself), with or without
                the suffix.
            where: File and line where ``key`` stands, for the error.

        Returns:
            The image's relative path, or None if there is no such image.

        Raises:
            ValueError: If ``key`` has no suffix and several images differ in their suffix only.
        """
        key = os.path.normpath(key.replace('\\', '/')).replace(os.sep, '/')
        if key in self._ids:
            return key
        found = self._by_id.get(key, [])
        if len(found) > 1:
            raise ValueError(f'{where}: {shown(key)} may be {" or ".join(found)} in {self.root}; write the suffix too')
        return found[0] if found else None

    def full_path(self, path: str) -> str:
        """``path``, relative to the folder, joined with the folder."""
        return os.path.join(self.root, path)


def list_files(root: str | os.PathLike[str], suffixes: tuple[str, ...]) -> list[str]:
    """Lists the files in and below a folder, without a look at the files themselves.

    Args:
        root: The folder.
        suffixes: Endings of the names to list, in any case.

    Returns:
        Paths relative to ``root``, with ``/`` as separator, sorted. Hidden files and folders are left out, and so are
        links to a folder that they lie in, or that was come through on the way to them.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    root = os.fspath(root)
    if not os.path.isdir(root):
        raise FileNotFoundError(f'{root}: no such folder')
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    paths = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [
            name for name in subfolders if not name.startswith('.') and not _leads_back(root, folder, name)
        ]
        relative = os.path.relpath(folder, root).replace(os.sep, '/')
        prefix = '' if relative == '.' else f'{relative}/'
        paths += [prefix + name for name in names if name.lower().endswith(suffixes) and not name.startswith('.')]
    return sorted(paths)


class Problems(list[str]):
    """Lines about what is wrong. A file may have millions: of those beyond the first few only the number is kept.

    Attributes:
        more: Their number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    def add(self, line: str) -> None:
        """Keep a line, or count it."""
        if len(self) < SHOWN_PROBLEMS:
            self.append(line)
        else:
            self.more += 1


def read_list(path: str, folder: ImageFolder, problems: Problems) -> list[str]:
    """Reads a list of images, one a line; blank lines count for nothing.

    Args:
        path: The list, in UTF-8.
        folder: Where its images are; a line is what :meth:`ImageFolder.find` understands.
        problems: Takes a line for each thing that is wrong.

    Returns:
        The images' relative paths.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line may mean several images.
    """
    require_file(path)
    lines: dict[str, int] = {}
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        for number, line in enumerate(file, start=1):
            key = line.strip()
            if not key:
                continue
            where = f'{path}, line {number}'
            image = folder.find(key, where)
            if image is None:
                problems.add(f'{where}: no image {shown(key)} in {folder.root}')
            elif image in lines:
                problems.add(f'{where}: {shown(key)} is already on line {lines[image]}')
            else:
                lines[image] = number
    return list(lines)


@contextmanager
def open_image(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """As PIL's ``Image.open``, for a file of one of the usual formats, whatever its name says.

    Raises:
        FileNotFoundError: If there is no such file.
        Exception: Of any kind, if it is no image.
    """
    require_file(path)
    with _File(path) as file, Image.open(file, formats=_FORMATS) as image:
        yield image


class _File(io.BufferedReader):
    """A file that makes no room for more than it has: a damaged image may ask for 4 GB of it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def ending(self, size: int) -> bytes:
        """The last bytes."""
        self.seek(max(0, self._size - size))
        return super().read(size)

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < self._size else self._size)

    def __repr__(self) -> str:  # which PIL's messages show
        return repr(self.name)


def check_size(height: Any, width: Any, where: str, names: tuple[str, str] = ('height', 'width')) -> tuple[int, int]:
    """The (height, width) of an image as a file gives it, once it is sure that it is one.

    Raises:
        ValueError: If they are no whole numbers from 1 on, or more pixels in all than :data:`MAX_PIXELS`.
    """
    if not all(type(side) is int and side > 0 for side in (height, width)):  # True is an int, and no size
        raise ValueError(f'{where}: {names[0]} {shown(height)} and {names[1]} {shown(width)} are no size')
    if height * width > MAX_PIXELS:
        raise ValueError(
            f'{where}: {names[0]} {shown(height)} and {names[1]} {shown(width)} are more than the {MAX_PIXELS} pixels '
            'that an image may have'
        )
    return height, width


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) in pixels that an image has when it is loaded, turned as its EXIF orientation says.

    Only the header is read.

    Raises:
        OSError: If there is no such file, or it is no image; the message names it.
    """
    try:
        with open_image(path) as image:
            width, height = image.size
            return (height, width) if _is_turned(image) else (width, height)
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        raise OSError(f'{path}: not a readable image ({short(str(error))})') from error


def check_samples(
    samples: Sequence[tuple[str, str | None]],
    *,
    num_classes: int = IGNORE_INDEX,
    min_side: int = MIN_SIDE,
    workers: int = 8,
) -> list[str]:
    """Checks images, without decoding sound ones, and masks where there are any.

    Args:
        samples: Path of the image and path of its mask, or None, for every sample.
        num_classes: Number of classes, background included: what masks may hold, besides 255.
        min_side: Smallest height and width of an image, in pixels.
        workers: Number of threads for a slow disk, which they wait for together. Files that are in memory already are
            checked one by one: there eight threads, which want Python's lock all the time, take three times as long.

    Returns:
        One line for each sample that cannot be used, in the order of ``samples``.
    """

    def check(part: Sequence[tuple[str, str | None]]) -> list[str]:
        found = [sample_problem(*paths, num_classes=num_classes, min_side=min_side) for paths in part]
        return [problem for problem in found if problem]

    parts = (samples[start : start + _PART] for start in range(0, len(samples), _PART))
    problems: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for part in parts:
            start, computed = time.perf_counter(), time.thread_time()
            problems += check(part)
            if time.perf_counter() - start > _MOSTLY_WAITING * (time.thread_time() - computed):
                problems += chain.from_iterable(pool.map(check, islice(parts, 8 * workers)))
    return problems


def size_problem(name: str, width: int, height: int, min_side: int, max_pixels: int | None = None) -> str | None:
    """What is wrong with the size of the image called ``name``, or None: a side too short, too many pixels in all."""
    if min(width, height) < min_side:
        return f'{name}: {width}x{height} pixels, but both sides must have at least {min_side}'
    if max_pixels is not None and width * height > max_pixels:
        return (
            f'{name}: {width}x{height} pixels are {width * height / 1e6:.1f} million, more than the '
            f'{max_pixels / 1e6:.1f} million of max_pixels. Make the image smaller or max_pixels larger'
        )
    return None


def sample_problem(
    image_path: str,
    mask_path: str | None = None,
    *,
    num_classes: int = IGNORE_INDEX,
    min_side: int = MIN_SIDE,
    max_pixels: int | None = None,
) -> str | None:
    """What is wrong with an image or its mask.

    An image must have a header that can be read, both sides at least ``min_side`` pixels long, no more than
    ``max_pixels`` in all (if not None; the header alone is read for this), and be complete. A mask must be there, be
    complete, hold class indices (mode P or L; less than ``num_classes``, or 255) and have the size of the image after
    its EXIF orientation.

    Returns:
        A sentence that names the file, or None if nothing is wrong.

    Raises:
        MemoryError: If the memory of the machine is full, which says nothing of the file.
    """
    # Decoders raise errors of every kind on broken bytes.
    try:
        require_file(image_path)
        with _File(image_path) as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            turned = _is_turned(image)
            problem = size_problem(image_path, width, height, min_side, max_pixels)
            if problem is not None:
                return problem
            final = _FINAL_BYTES.get(image.format or '')
            if final is None or final not in file.ending(_TAIL):
                image.load()
                if mmcv.imread(image_path) is None:
                    return f'{image_path}: an image of format {image.format}, which OpenCV cannot read'
    except FileNotFoundError:
        return f'{image_path}: no such image'
    except Exception as error:
        return f'{image_path}: {unreadable(error, "image")}'
    if mask_path is None:
        return None
    try:
        with open_image(mask_path) as mask:
            mask_size, mode = mask.size, mask.mode
            values = np.flatnonzero(mask.histogram()).tolist() if mode in _MASK_MODES else []
    except FileNotFoundError:
        return f'{mask_path}: no such mask (of {image_path})'
    except Exception as error:
        return f'{mask_path}: {unreadable(error, "mask")}'
    if mode not in _MASK_MODES:
        return f'{mask_path}: a mask holds class indices (a palette or 8-bit greyscale image), but this has mode {mode}'
    unknown = [value for value in values if num_classes <= value != IGNORE_INDEX]
    if unknown:
        return f'{mask_path}: has the value {min(unknown)}, but classes are 0 to {num_classes - 1}, and 255 is unknown'
    if turned or mask_size != (width, height):
        # Only decoding tells what the loader makes of the orientation.
        image = mmcv.imread(image_path)
        if image is None:
            return f'{image_path}: not a readable image (OpenCV cannot read it)'
        height, width = image.shape[:2]
        if mask_size != (width, height):
            return f'{mask_path}: {mask_size[0]}x{mask_size[1]} pixels, but its image {image_path} has {width}x{height}'
    return None


def same_id_problems(folder: ImageFolder, images: Sequence[str]) -> list[str]:
    """One line for each image that differs from another one in its suffix only.

    Their masks, labels by id and results would be the same files.
    """
    by_id: dict[str, str] = {}
    problems = []
    for image in images:
        other = by_id.setdefault(folder.image_id(image), image)
        if other != image:
            problems.append(f'{folder.full_path(image)}: differs from {other} in its suffix only; rename one of them')
    return problems


def raise_problems(problems: Sequence[str], subject: str) -> None:
    """Raises one error that counts the problems and shows the first of them; does nothing if there are none.

    Raises:
        ValueError: If ``problems`` is not empty.
    """
    if not problems:
        return
    total = len(problems) + (problems.more if isinstance(problems, Problems) else 0)
    lines = [f'{subject}: {total} problem{"s"[: total > 1]}', *problems[:SHOWN_PROBLEMS]]
    if total > SHOWN_PROBLEMS:
        lines.append(f'... and {total - SHOWN_PROBLEMS} more')
    raise ValueError('\n  '.join(lines))


def read_rgb(path: str) -> npt.NDArray[np.uint8]:
    """Pixels of an image as RGB (H, W, 3), turned as the pipelines turn it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image that can be read.
    """
    image = mmcv.imread(path)  # channel_order='rgb' would hand OpenCV what it could not read
    if image is None:
        raise ValueError(f'{path}: not a readable image')
    rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(image[..., ::-1])
    return rgb


def first_few(names: Iterable[str], count: int = 5) -> str:
    """The first ``count`` names, for a message."""
    names = list(names)
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def no_pictures(paths: Sequence[str]) -> str:
    """How many files are no pictures by their names, for a message."""
    return counted(len(paths), 'file is no picture by its name', 'files are no pictures by their names')


def _is_turned(image: Image.Image) -> bool:
    """Whether its EXIF orientation exchanges rows and columns of an image; what is no EXIF data turns nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG) if 'exif' in image.info else None
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        return False
    return isinstance(orientation, int) and 4 < orientation <= 8


def _leads_back(root: str, folder: str, name: str) -> bool:
    """Whether a folder's entry is a link to one of the folders on the way to it: who follows it goes in circles."""
    path = os.path.join(folder, name)
    if not os.path.islink(path):
        return False
    target, parts = os.path.realpath(path), Path(os.path.relpath(folder, root)).parts
    way = [os.path.join(root, *parts[:length]) for length in range(len(parts) + 1)]
    return any(Path(os.path.realpath(place)).is_relative_to(target) for place in way)
