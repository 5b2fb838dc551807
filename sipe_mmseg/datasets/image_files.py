"""Image folders, listed once, and the check of all files before training starts."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import BinaryIO

import mmcv
import numpy as np
import numpy.typing as npt
from PIL import Image

from ..refinement.label_values import IGNORE_INDEX

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

MIN_SIDE = 16
"""Smallest height and width in pixels: one cell of the stride-16 grid (SIPE, section 3.1)."""

SHOWN_PROBLEMS = 10

# Bytes every complete file ends with (JPEG: end-of-image marker; PNG: the type of its last chunk), and how far from the
# end they may stand: some cameras and editors append padding. Files that end otherwise are decoded to be sure.
_FINAL_BYTES = {'JPEG': b'\xff\xd9', 'MPO': b'\xff\xd9', 'PNG': b'IEND'}
_TAIL = 64

_PART = 64  # samples a thread checks at a time

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
        self._paths = set(self.paths)
        self._by_id: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_id.setdefault(self.image_id(path), []).append(path)

    def image_id(self, path: str) -> str:
        """A relative path without its suffix: what names an image in lists, label files and outputs."""
        return path[: -len(self.suffix)] if self.suffix else os.path.splitext(path)[0]

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
        if key in self._paths:
            return key
        found = self._by_id.get(key, [])
        if len(found) > 1:
            raise ValueError(f'{where}: {key!r} may be {" or ".join(found)} in {self.root}; write the suffix too')
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
        Paths relative to ``root``, with ``/`` as separator, sorted. Hidden files and folders are left out.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    root = os.fspath(root)
    if not os.path.isdir(root):
        raise FileNotFoundError(f'{root}: no such folder')
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    paths = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith('.')]
        relative = os.path.relpath(folder, root).replace(os.sep, '/')
        prefix = '' if relative == '.' else f'{relative}/'
        paths += [prefix + name for name in names if name.lower().endswith(suffixes) and not name.startswith('.')]
    return sorted(paths)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) in pixels that an image has when it is loaded, turned as its EXIF orientation says.

    Only the header is read.

    Raises:
        OSError: If there is no such file, or it is no image.
    """
    with Image.open(path) as image:
        width, height = image.size
        return (height, width) if _is_turned(image) else (width, height)


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
        workers: Number of threads. They wait for the disk together: no gain on files that are in memory already,
            nearly as many times the speed on a slow disk.

    Returns:
        One line for each sample that cannot be used, in the order of ``samples``.
    """

    def check(part: Sequence[tuple[str, str | None]]) -> list[str]:
        found = [sample_problem(*paths, num_classes=num_classes, min_side=min_side) for paths in part]
        return [problem for problem in found if problem]

    parts = [samples[start : start + _PART] for start in range(0, len(samples), _PART)]
    with ThreadPoolExecutor(workers) as pool:
        return list(chain.from_iterable(pool.map(check, parts)))


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
    """
    # Decoders raise errors of every kind on broken bytes, and all of them mean the same here.
    try:
        with open(image_path, 'rb') as file, Image.open(file) as image:
            width, height = image.size
            turned = _is_turned(image)
            problem = size_problem(image_path, width, height, min_side, max_pixels)
            if problem is not None:
                return problem
            if not _ends_properly(file, image.format):
                image.load()
                if mmcv.imread(image_path) is None:
                    return f'{image_path}: an image of format {image.format}, which OpenCV cannot read'
    except FileNotFoundError:
        return f'{image_path}: no such image'
    except Exception as error:
        return f'{image_path}: not a readable image ({error})'
    if mask_path is None:
        return None
    try:
        with Image.open(mask_path) as mask:
            mask_size, mode = mask.size, mask.mode
            values = [] if mode not in _MASK_MODES else [int(value) for _, value in mask.getcolors()]
    except FileNotFoundError:
        return f'{mask_path}: no such mask (of {image_path})'
    except Exception as error:
        return f'{mask_path}: not a readable mask ({error})'
    if mode not in _MASK_MODES:
        return f'{mask_path}: a mask holds class indices (a palette or 8-bit greyscale image), but this has mode {mode}'
    unknown = [value for value in values if num_classes <= value != IGNORE_INDEX]
    if unknown:
        return f'{mask_path}: has the value {min(unknown)}, but classes are 0 to {num_classes - 1}, and 255 is unknown'
    if turned or mask_size != (width, height):
        # Only decoding tells what the loader makes of the orientation.
        height, width = mmcv.imread(image_path).shape[:2]
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
    lines = [f'{subject}: {len(problems)} problem{"s"[: len(problems) > 1]}', *problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f'... and {len(problems) - SHOWN_PROBLEMS} more')
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


def _is_turned(image: Image.Image) -> bool:
    """Whether its EXIF orientation exchanges rows and columns of an image."""
    return 'exif' in image.info and image.getexif().get(_ORIENTATION_TAG, 1) > 4


def _ends_properly(file: BinaryIO, image_format: str | None) -> bool:
    final = _FINAL_BYTES.get(image_format or '')
    if final is None:
        return False
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _TAIL))
    return final in file.read()
