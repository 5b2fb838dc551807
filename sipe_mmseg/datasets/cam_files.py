"""Localisation maps on disk, small: the present classes only, in half precision, at a stride; read without pickle."""

import io
import math
import os
import zipfile
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..refinement.label_values import IGNORE_INDEX
from .atomic_write import atomic_write
from .image_files import MAX_PIXELS
from .json_files import require_file
from .messages import is_of_machine, short, shown

CAM_STRIDE = 4
"""Stride of the random walk's grid, and so of what it needs (IRN, section 5)."""

_KEYS = ('classes', 'is_cam', 'size', 'made_with')
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_BYTES = 1 << 30  # of the arrays of a file: 21 maps at stride 4 of an image of 400 million pixels
_MAX_VALUES = 1 << 31  # of the maps at the image's size: 21 of an image of 100 million pixels, 8 GB


@dataclass(frozen=True)
class CAMFile:
    """IS-CAM of one image.

    Attributes:
        classes: Class indices (n,) of the present classes, 1..K, ascending.
        is_cam: IS-CAM (n + 1, h, w), float32 in [0, 1], background first.
        size: (height, width) of the image in pixels.
    """

    classes: npt.NDArray[np.int64]
    is_cam: npt.NDArray[np.float32]
    size: tuple[int, int]

    def label_map(self) -> npt.NDArray[np.uint8]:
        """Argmax over background and present classes at the image's size: class indices (H, W)."""
        keys = np.concatenate([[0], self.classes]).astype(np.uint8)
        labels: npt.NDArray[np.uint8] = keys[resize_cam(self.is_cam, self.size).argmax(axis=0)]
        return labels


def write_cam(
    path: str | os.PathLike[str],
    classes: npt.NDArray[Any],
    is_cam: npt.NDArray[Any],
    size: tuple[int, int],
    made_with: str = '',
) -> None:
    """Write a CAM file; it appears complete or not at all.

    Args:
        path: ``.npz`` file to write; its folder is made.
        classes: Class indices (n,), 1..K, ascending.
        is_cam: IS-CAM (n + 1, h, w) in [0, 1], background first; stored in half precision.
        size: (height, width) of the image.
        made_with: Digest of the settings that the map is made with.

    Raises:
        ValueError: If the arrays do not fit each other.
    """
    classes, is_cam = np.asarray(classes, np.int64), np.asarray(is_cam, np.float16)
    problem = _problem(classes, is_cam, np.asarray(size))
    if problem:
        raise ValueError(f'{path}: cannot write this map: {problem}')
    with atomic_write(path, one_of_many=True) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(
            file, classes=classes, is_cam=is_cam, size=np.asarray(size, np.int64), made_with=np.array(made_with)
        )


def read_cam(path: str | os.PathLike[str], num_classes: int | None = None, made_with: str | None = None) -> CAMFile:
    """Read a CAM file and check that it is one. Nothing in it is ever run.

    Args:
        path: The file.
        num_classes: Classes with background, to check the present ones.
        made_with: Digest of the settings of its folder, to check that the file was made with them.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read, which says nothing of what is in it.
        ValueError: If the file is broken, cut short, something else or made with other settings; the message names it.
    """
    try:
        require_file(path)
        classes, is_cam, size, written_with = _read_arrays(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such CAM file; tools/generate_labels.py --cams writes the missing ones'
        ) from None
    except Exception as error:  # zip files raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        with open(path, 'rb') as file:
            while file.read(1 << 16):  # zipfile hides an error of the disk behind its own
                pass
        raise ValueError(
            f'{path}: not a CAM file, or cut short ({short(str(error))}). Remove it and have '
            'tools/generate_labels.py --cams write it again'
        ) from error
    problem = _problem(classes, is_cam, size)
    if problem is None and num_classes is not None and (classes >= num_classes).any():
        problem = f'it has class {classes.max()}, but there are {num_classes} classes, background included'
    if problem is not None:
        raise ValueError(f'{path}: not a CAM file of this data set: {problem}')
    if made_with is not None and (written_with.shape or str(written_with) != made_with):
        raise ValueError(
            f'{path}: made with another checkpoint or other settings than its folder says. Remove it and have '
            'tools/generate_labels.py --cams write it again'
        )
    return CAMFile(classes.astype(np.int64), is_cam.astype(np.float32), (int(size[0]), int(size[1])))


def resize_cam(is_cam: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Bring maps (n + 1, h, w) to ``size``, bilinear with ``align_corners=False``."""
    maps = torch.from_numpy(np.ascontiguousarray(is_cam, dtype=np.float32))[None]
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)[0].numpy()


def strided_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Size of the maps of an image at a stride: both sides divided, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _read_arrays(path: str | os.PathLike[str]) -> list[npt.NDArray[Any]]:
    """The arrays of an archive in the order of ``_KEYS``; what it claims to hold is never taken at its word."""
    names = [f'{key}.npy' for key in _KEYS]
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sorted(member.filename for member in members) != sorted(names):
            raise ValueError('it has other contents')
        if any(member.compress_type not in _PACKED for member in members):  # LZMA may ask for 4 GB
            raise ValueError('it is packed in another way')
        total = sum(member.file_size for member in members)
        if total > _MAX_BYTES:
            raise ValueError(f'its arrays have {total} bytes, more than {_MAX_BYTES}')
        arrays = []
        for name in names:
            with archive.open(name) as file:  # which, unlike archive.read(name), unpacks no more than is asked for
                arrays.append(_array(file.read(archive.getinfo(name).file_size)))
        return arrays


def _array(content: bytes) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file of format 1.0, without pickled objects."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError('it has an array in a format other than 1.0')
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in 'iufU' or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f'it has an array whose header says {dtype} {shape}, and which holds something else')
    order: Literal['C', 'F'] = 'F' if fortran_order else 'C'
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, buffer=content, offset=file.tell(), order=order)
    return array


def _problem(classes: npt.NDArray[Any], is_cam: npt.NDArray[Any], size: npt.NDArray[Any]) -> str | None:
    # As Python's numbers, which neither wrap around nor overflow.
    indices = classes.tolist() if classes.ndim == 1 and classes.dtype.kind in 'iu' else [0]
    if sorted(set(indices)) != indices or not all(0 < index < IGNORE_INDEX for index in indices):
        return f'classes must be ascending class indices from 1 on, not {shown(classes.tolist())}'
    if size.shape != (2,) or size.dtype.kind not in 'iu' or (size < 1).any():
        return f'size must be (height, width) of the image, not {shown(size.tolist())}'
    if is_cam.ndim != 3 or is_cam.dtype.kind != 'f' or len(is_cam) != len(classes) + 1 or 0 in is_cam.shape:
        return f'{len(classes)} classes need {len(classes) + 1} maps, background first, not an array {is_cam.shape}'
    pixels = math.prod(size.tolist())
    if pixels > MAX_PIXELS or len(is_cam) * pixels > _MAX_VALUES:
        return f'{len(is_cam)} maps of an image of {shown(size.tolist())} pixels are too large to be right'
    with np.errstate(over='ignore'):
        if not np.isfinite(is_cam.astype(np.float32)).all():
            return 'its maps hold numbers that are not finite'
    return None
