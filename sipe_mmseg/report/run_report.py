"""What a report says about a training: its curves, its scores, pictures of the growing maps, and its config."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.image_files import open_image
from ..datasets.messages import is_of_machine
from ..visualization.curves import Curves, read_curves, training_starts
from .label_report import Tile
from .thumbnails import image_thumbnail, image_uri

_PREFIX = 'maps_'


@dataclass(frozen=True)
class RunReport:
    """Everything that the page shows of a training.

    Attributes:
        title: Name of the work directory.
        curves: What was logged, all starts joined.
        pictures: For each image that ``CAMVisualizationHook`` drew, by name: iterations done and the picture.
        config: Text of the config that training left in the work directory, or None.
        unreadable: How many of the pictures that were to be shown are no whole images.
    """

    title: str
    curves: Curves
    pictures: dict[str, tuple[tuple[int, Tile], ...]]
    config: str | None
    unreadable: int = 0


def collect_run_report(work_dir: str | os.PathLike[str], *, max_pictures: int = 6, longer_side: int = 900) -> RunReport:
    """Read what a training has left in its work directory.

    Args:
        work_dir: Work directory of a run, or the folder of one of its starts.
        max_pictures: Most pictures of an image: the first, the last, and as many between them at equal distances.
        longer_side: Longer side of a picture in pixels.

    Raises:
        FileNotFoundError: If there are no logs.
        OSError: If a disk cannot be read.
        ValueError: If a log cannot be read, or ``max_pictures`` or ``longer_side`` is below 1.
    """
    for name, value in (('max_pictures', max_pictures), ('longer_side', longer_side)):
        if value < 1:
            raise ValueError(f'{name}={value}: must be at least 1')
    folder = Path(work_dir)
    curves = read_curves(folder)
    pictures = {}
    unreadable = 0
    for name, drawn in sorted(_pictures(folder).items()):
        steps = sorted(drawn)
        last = len(steps) - 1
        chosen = sorted({round(place * last / max(1, max_pictures - 1)) for place in range(max_pictures)} | {last})
        chosen = chosen[-max_pictures:] if len(chosen) > max_pictures else chosen
        tiles = [(steps[place], _tile(drawn[steps[place]], longer_side)) for place in chosen]
        whole = tuple((step, tile) for step, tile in tiles if tile is not None)
        unreadable += len(tiles) - len(whole)
        if whole:
            pictures[name] = whole
    configs = sorted(folder.glob('*.py'))
    config = configs[0].read_text(encoding='utf-8', errors='replace') if len(configs) == 1 else None
    return RunReport(folder.resolve().name, curves, pictures, config, unreadable)


def _pictures(folder: Path) -> dict[str, dict[int, Path]]:
    """Of each image that the hook drew, the file of the picture after so many iterations."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for logs, first, _ in training_starts(folder):
        for pictures in found.values():
            for step in [step for step in pictures if step >= first]:
                del pictures[step]
        for path in (logs / 'vis_image').glob(f'{_PREFIX}*.png'):
            name, _, step_text = path.stem.removeprefix(_PREFIX).rpartition('_')
            if name and step_text.isdecimal():
                found[name][int(step_text)] = path
    return {name: pictures for name, pictures in found.items() if pictures}


def _tile(path: Path, longer_side: int) -> Tile | None:
    """A smaller copy of a picture; None if it is no whole image."""
    try:
        with open_image(path) as picture:
            image = image_thumbnail(np.asarray(picture.convert('RGB')), longer_side)
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        if is_of_machine(error):
            raise
        return None
    return Tile('maps', image_uri(image), image.shape[1], image.shape[0], is_label_map=False)
