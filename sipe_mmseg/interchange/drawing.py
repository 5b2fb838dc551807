"""What people and tools draw on an image, by the names of classes, as a label map."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..datasets.messages import closest, shown
from ..refinement.label_values import IGNORE_INDEX

UNKNOWN = 'unknown'
"""Name of what has the value 255 in a label map."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn on one image.

    Attributes:
        name: The image, as the file calls it.
        size: (height, width) in pixels, as the file has it.
        shapes: Class name and mask (H, W) of every shape, the lowest first. Read once.
        where: File and place in it, for errors.
    """

    name: str
    size: tuple[int, int]
    shapes: Iterable[tuple[str, npt.NDArray[np.bool_]]]
    where: str


def drawn_names(classes: Sequence[str]) -> dict[str, int]:
    """Names that a shape may have, with their values in a label map: the classes, and :data:`UNKNOWN` for 255.

    Raises:
        ValueError: If a class has that name.
    """
    if UNKNOWN in classes:
        raise ValueError(f'a class is called {UNKNOWN!r}, which is the name of pixels without a known class: rename it')
    return {**{name: index for index, name in enumerate(classes)}, UNKNOWN: IGNORE_INDEX}


def draw_label_map(drawing: Drawing, classes: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Draw all shapes, later ones over earlier ones, on background.

    Args:
        drawing: What to draw.
        classes: All classes, background first. A shape may have the name of any of them, or :data:`UNKNOWN`.

    Returns:
        Class indices (H, W), 255 for unknown.

    Raises:
        ValueError: If a shape has another name.
    """
    values = drawn_names(classes)
    labels = np.zeros(drawing.size, dtype=np.uint8)
    for name, mask in drawing.shapes:
        if name not in values:
            close = closest(name, values)
            hint = f'; did you mean {close!r}?' if close else '.'
            raise ValueError(f'{drawing.where}: {shown(name)} is not a class{hint} There are {", ".join(values)}')
        labels[mask] = values[name]
    return labels
