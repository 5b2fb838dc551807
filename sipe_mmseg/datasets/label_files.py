"""Label maps on disk: PNGs whose pixels are class indices and whose palette makes them readable to people."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..refinement.label_values import IGNORE_INDEX
from .atomic_write import atomic_write
from .image_files import open_image
from .messages import is_of_machine, short

_LABEL_MODES = ('P', 'L')


def write_label_png(path: str | os.PathLike[str], labels: npt.NDArray[Any], palette: Sequence[Sequence[int]]) -> None:
    """Write a palette ('P') PNG; the file appears complete or not at all.

    Args:
        path: File to write; its folder is made.
        labels: Class indices (H, W), 0 to 255.
        palette: RGB of each class; values beyond it are drawn in white.
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = np.reshape(palette, (-1, 3))
    image = Image.fromarray(labels.astype(np.uint8), mode='P')
    image.putpalette(colours.tobytes())
    with atomic_write(path, one_of_many=True) as temporary:
        image.save(temporary, format='PNG')


def read_label_png(
    path: str | os.PathLike[str], num_classes: int, size: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """Read a label map and check that it is one.

    Args:
        path: Palette or 8-bit greyscale PNG.
        num_classes: Classes with background: pixels hold 0 to ``num_classes - 1``, or 255 for unknown.
        size: (height, width) that it must have.

    Returns:
        Class indices (H, W).

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read, which says nothing of what is in it.
        ValueError: If the file is broken or cut short, has colours in place of class indices, another size, or a value
            that is no class; the message names the file.
    """
    try:
        with open_image(path) as image:
            mode = image.mode
            labels = np.array(image) if mode in _LABEL_MODES else None
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        raise ValueError(
            f'{path}: not a readable PNG ({short(str(error))}). Write it again; if it is as a command wrote it, remove '
            'it, and the same command writes it again'
        ) from error
    if labels is None:
        raise ValueError(
            f'{path}: has mode {mode}, but a label map holds class indices: a palette (P) or 8-bit greyscale (L) PNG'
        )
    if size is not None and labels.shape != tuple(size):
        raise ValueError(
            f'{path}: has {labels.shape[1]}x{labels.shape[0]} pixels (width x height), but its image has '
            f'{size[1]}x{size[0]}'
        )
    unknown = labels[(labels >= num_classes) & (labels != IGNORE_INDEX)]
    if unknown.size:
        raise ValueError(
            f'{path}: has the value {unknown.min()}, but there are {num_classes} classes: 0 to {num_classes - 1}, '
            f'and {IGNORE_INDEX} for unknown'
        )
    return labels
