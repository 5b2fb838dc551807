"""Label maps on disk: PNGs whose pixels are class indices and whose palette makes them readable to people."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_label_png(path: str | Path, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    """Write a palette ('P') PNG; the file appears complete or not at all.

    Args:
        path: File to write; its folder is made.
        labels: Class indices (H, W), 0 to 255.
        palette: RGB of each class; values beyond it are drawn in white.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = palette
    image = Image.fromarray(labels.astype(np.uint8), mode='P')
    image.putpalette(colours.tobytes())
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        image.save(temporary, format='PNG')
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
