"""Label maps after the CRF, and IR labels, of whole folders on all cores; what is there already is left alone."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from mmseg.datasets import BaseSegDataset

from .. import __version__
from ..datasets.cam_files import read_cam, resize_cam
from ..datasets.folder_lock import folder_lock
from ..datasets.image_files import read_rgb
from ..datasets.label_files import read_label_png, write_label_png
from ..datasets.palette import voc_palette
from ..datasets.result_folder import ResultFolder, image_id, source_settings
from ..refinement import dense_crf, import_densecrf, ir_labels
from ..refinement.label_values import IGNORE_INDEX
from .label_generation import Written, dataset_settings, image_ids
from .parallel_work import each_done
from .progress import Progress

Method = Literal['crf', 'ir']
METHODS: tuple[str, ...] = get_args(Method)

BACKGROUND_SCALE = 0.5
"""What the background channel is multiplied by to find confident background (published code of SIPE)."""


@dataclass(frozen=True)
class Task:
    """One image to refine.

    Attributes:
        image: Image file.
        source: Its label map or CAM file.
        target: Label map to write.
        classes: Class indices of its image-level labels; None where it has none.
    """

    image: str
    source: Path
    target: Path
    classes: tuple[int, ...] | None


def refine_labels(
    method: Method,
    dataset: BaseSegDataset,
    source_dir: str | Path,
    out_dir: str | Path,
    *,
    crf: Mapping[str, float] | None = None,
    background_scale: float = BACKGROUND_SCALE,
    thresholds: tuple[float, float] | None = None,
    overwrite: bool = False,
    jobs: int = 1,
) -> Written:
    """Refine the images of a data set, as published with SIPE: each of them on one core, ``jobs`` of them at a time.

    Args:
        method: ``'crf'`` turns a folder of label maps into one of label maps after the CRF; ``'ir'`` turns a folder of
            CAM files into IR labels: confident foreground, 0 for confident background, 255 for the rest.
        dataset: The images, and their image-level labels, if known.
        source_dir: Folder to read; every image of the data set must be in it.
        out_dir: Folder to write.
        crf: Numbers of the CRF that are not the published ones, as in :func:`~sipe_mmseg.refinement.dense_crf`.
        background_scale: Factor of the background channel for confident background (``'ir'``).
        thresholds: For confident foreground and background in its place (``'ir'``); see
            :func:`~sipe_mmseg.refinement.ir_labels`.
        overwrite: Remove files in ``out_dir`` that are made with other settings.
        jobs: Number of processes; 1 works in this one.

    Raises:
        FileNotFoundError: If the source folder lacks images.
        FolderInUseError: If another run writes into ``out_dir``.
        ImportError: If the extra ``crf`` is not installed.
        OSError: If nothing may be written into ``out_dir``.
        ValueError: If a file of the source folder is not what it should be, or the files in ``out_dir`` are made with
            other settings; the message names it.
    """
    if method not in METHODS:
        raise ValueError(f'method must be one of {", ".join(METHODS)}, not {method!r}')
    if jobs < 1:
        raise ValueError(f'jobs must be at least 1, not {jobs}')
    import_densecrf()
    source = ResultFolder(Path(source_dir), '.png' if method == 'crf' else '.npz')
    target = ResultFolder(Path(out_dir), '.png')
    if source.root.resolve() == target.root.resolve():
        raise ValueError(f'{out_dir} is the folder to read: name another one to write')
    ids = image_ids(dataset)
    source.require(ids)
    settings: dict[str, Any] = {
        'tool': f'refine_labels {method}',
        'version': __version__,
        'source': source_settings(source),
        'crf': crf_settings(crf),
        'dataset': dataset_settings(dataset),
    }
    rule: dict[str, Any] = {}
    if method == 'ir':
        rule = dict(background_scale=background_scale) if thresholds is None else dict(thresholds=list(thresholds))
        settings.update(rule)
    _check_numbers(method, settings['crf'], rule)
    with folder_lock(target.root):
        target.start(settings, ids if overwrite else None)
        missing = set(target.missing(ids))
        infos = [dataset.get_data_info(index) for index, name in enumerate(ids) if name in missing]
        tasks = [
            Task(info['img_path'], source.path(image_id(info)), target.path(image_id(info)), _own_classes(info))
            for info in infos
        ]
        arguments: dict[str, Any] = dict(
            class_names=tuple(dataset.metainfo['classes']),
            palette=dataset.metainfo.get('palette') or voc_palette(256),
            crf=settings['crf'],
        )
        work: Callable[[Task], None]
        if method == 'crf':
            work = partial(write_crf_labels, **arguments)
        else:
            made_with = source.digest() or None
            work = partial(write_ir_labels, rule=rule, made_with=made_with, **arguments)
        # Closing stops the other processes before anything is said about a stop.
        with Progress(len(tasks)) as progress, closing(each_done(work, tasks, jobs, '--jobs')) as done:
            for _ in done:
                progress.advance()
    return Written(len(ids), len(tasks))


def _check_numbers(method: str, crf: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
    """Raise what the first image would, before anything is written or removed."""
    image, labels = np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=np.int64)
    if method == 'crf':
        dense_crf(image, labels, num_labels=2, **crf)
    else:
        ir_labels(image, np.stack([1 - labels, labels]).astype(np.float32), np.arange(2), **rule, **crf)


def crf_settings(changes: Mapping[str, float] | None = None) -> dict[str, float]:
    """The numbers of the CRF by name: the published ones, which are the defaults of ``dense_crf``, and ``changes``.

    Raises:
        ValueError: If the CRF has no number of a name.
    """
    defaults: dict[str, float] = dict(dense_crf.__kwdefaults__ or {})
    unknown = set(changes or {}) - set(defaults)
    if unknown:
        raise ValueError(f'the CRF has no {", ".join(sorted(unknown))}; it has {", ".join(defaults)}')
    # 3 and 3.0 are the same number, and must be the same text in a folder's settings.
    return {
        name: value if name == 'iterations' else float(value) for name, value in {**defaults, **(changes or {})}.items()
    }


def write_crf_labels(
    task: Task, class_names: Sequence[str], palette: Sequence[Sequence[int]], crf: Mapping[str, Any]
) -> None:
    """Label map of one image after the CRF over background and the image's own classes.

    Where the image has no image-level labels, its own classes are those in the label map.

    Raises:
        ValueError: If the label map is not one of this image.
    """
    image = read_rgb(task.image)
    labels = read_label_png(task.source, len(class_names), (image.shape[0], image.shape[1]))
    found = np.unique(labels).tolist()
    if IGNORE_INDEX in found:
        raise ValueError(f'{task.source}: has pixels of unknown class (255); the CRF starts from a class in each pixel')
    keys = np.array(sorted({0, *(found if task.classes is None else task.classes)}))
    foreign = sorted(set(found) - set(keys.tolist()))
    if foreign:
        own = ', '.join(class_names[key] for key in keys)
        raise ValueError(
            f'{task.source}: has class {foreign[0]} ({class_names[foreign[0]]}), but the image-level labels say that '
            f'there is nothing but {own}: is it the label map of another image or data set?'
        )
    refined = dense_crf(image, np.searchsorted(keys, labels), len(keys), **crf)
    write_label_png(task.target, keys[refined], palette)


def write_ir_labels(
    task: Task,
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
    crf: Mapping[str, Any],
    rule: Mapping[str, Any],
    made_with: str | None,
) -> None:
    """IR labels of one image from its CAM file, by the ``background_scale`` or ``thresholds`` in ``rule``.

    Raises:
        ValueError: If the CAM file is not one of this image, or made with other settings than ``made_with``.
    """
    image = read_rgb(task.image)
    cam = read_cam(task.source, len(class_names), made_with)
    size = (image.shape[0], image.shape[1])
    if cam.size != size:
        raise ValueError(f'{task.source}: of an image of {cam.size} (height, width), but {task.image} has {size}')
    if task.classes is not None and set(cam.classes.tolist()) != set(task.classes):
        raise ValueError(
            f'{task.source}: has the classes {cam.classes.tolist()}, but the image-level labels of {task.image} are '
            f'{sorted(task.classes)}: is it the file of another image or data set?'
        )
    keys = np.concatenate([[0], cam.classes])
    labels = ir_labels(image, resize_cam(cam.is_cam, size), keys, **rule, **crf)
    write_label_png(task.target, labels, palette)


def _own_classes(info: Mapping[str, Any]) -> tuple[int, ...] | None:
    return tuple(int(label) + 1 for label in info['image_labels']) if 'image_labels' in info else None
