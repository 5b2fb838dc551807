"""Folders of label maps to the formats of annotation tools, and back when people have corrected them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy.typing as npt
from mmseg.datasets import BaseSegDataset

from .. import __version__
from ..datasets.atomic_write import atomic_write
from ..datasets.image_files import IMAGE_SUFFIXES, first_few, image_size, list_files
from ..datasets.label_files import read_label_png, write_label_png
from ..datasets.palette import voc_palette
from ..datasets.result_folder import ResultFolder, file_digest, image_id, source_settings
from ..interchange.coco import COCOAnnotations, read_coco
from ..interchange.cvat import cvat_labels, cvat_xml, read_cvat
from ..interchange.drawing import Drawing, draw_label_map, drawn_names
from ..interchange.labelme import Shapes, labelme_content, read_labelme
from .label_generation import Written, dataset_settings, image_ids
from .progress import Progress

Format = Literal['coco-rle', 'labelme', 'cvat']
FORMATS: tuple[str, ...] = get_args(Format)

_FILES = {'coco-rle': 'annotations.json', 'cvat': 'annotations.xml'}
_READERS: dict[str, Callable[[str], Iterator[Drawing]]] = {'coco-rle': read_coco, 'cvat': read_cvat}


def export_labels(
    format: Format,
    dataset: BaseSegDataset,
    labels_dir: str | Path,
    out_dir: str | Path,
    *,
    shapes: Shapes = 'polygon',
    tolerance: float = 0.0,
) -> int:
    """Write the label maps of a data set's images in the format of an annotation tool.

    ``coco-rle``: ``annotations.json``. ``cvat``: ``annotations.xml`` and ``labels.json``, the labels for a new task.
    ``labelme``: ``<image id>.json`` for each image, and ``labels.txt``. The folder appears complete or not at all.

    Args:
        format: One of :data:`FORMATS`.
        dataset: The images; each must have a label map.
        labels_dir: Folder of ``<image id>.png``.
        out_dir: Folder to write; it must not exist, or be empty.
        shapes: As in :func:`~sipe_mmseg.interchange.labelme.labelme_content` (``labelme``).
        tolerance: As there.

    Returns:
        Number of images.

    Raises:
        FileNotFoundError: If images have no label map.
        FileExistsError: If the folder to write has something in it.
        ValueError: If a label map does not fit its image; the message names it.
    """
    _check_format(format)
    out = _empty_folder(out_dir)
    source = ResultFolder(Path(labels_dir), '.png')
    source.require(image_ids(dataset))
    classes = tuple(dataset.metainfo['classes'])
    drawn_names(classes)
    with Progress(len(dataset)) as progress, atomic_write(out) as folder:
        folder.mkdir()
        images = _label_maps(dataset, source, progress)
        if format == 'coco-rle':
            annotations = COCOAnnotations(classes)
            for info, labels in images:
                annotations.add(_image_name(dataset, info), labels)
            (folder / _FILES[format]).write_text(json.dumps(annotations.content), encoding='utf-8')
        elif format == 'cvat':
            named = ((_image_name(dataset, info), labels) for info, labels in images)
            with open(folder / _FILES[format], 'w', encoding='utf-8') as file:
                file.writelines(cvat_xml(named, len(dataset), classes, source.root.name))
            content = json.dumps(cvat_labels(classes, _palette(dataset)), indent=2)
            (folder / 'labels.json').write_text(content + '\n', encoding='utf-8')
        else:
            (folder / 'labels.txt').write_text(''.join(f'{name}\n' for name in drawn_names(classes)), encoding='utf-8')
            for info, labels in images:
                path = ResultFolder(folder, '.json').path(image_id(info))
                place = out / path.relative_to(folder).parent
                to_image = Path(os.path.relpath(os.path.abspath(info['img_path']), place))
                content = json.dumps(labelme_content(to_image.as_posix(), labels, classes, shapes, tolerance), indent=2)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding='utf-8')
    return len(dataset)


def import_labels(
    format: Format,
    dataset: BaseSegDataset,
    source: str | Path,
    out_dir: str | Path,
    *,
    base: str | Path | None = None,
) -> Written:
    """Write what people drew on a data set's images as a folder of label maps.

    Shapes are drawn one over the other on background, later ones over earlier ones. The folder appears complete or not
    at all.

    Args:
        format: One of :data:`FORMATS`.
        dataset: The images.
        source: File (``coco-rle``; ``cvat``: XML, or zip file as exported), folder with such a file of the name that
            :func:`export_labels` gives it, or folder of JSON files (``labelme``).
        out_dir: Folder for ``<image id>.png``; it must not exist, or be empty.
        base: Folder of label maps to take for images that the source does not have; without it they are an error.

    Returns:
        Images of the data set, and those of them drawn by people.

    Raises:
        FileNotFoundError: If there is no such source, or images are neither in it nor in ``base``.
        FileExistsError: If the folder to write has something in it.
        ValueError: If the source has other images, or a file, a shape or a size is wrong; the message names it.
    """
    _check_format(format)
    path, fallback = _source_file(format, Path(source)), None if base is None else ResultFolder(Path(base), '.png')
    out = _empty_folder(out_dir)
    infos = dict(zip(image_ids(dataset), (dataset.get_data_info(index) for index in range(len(dataset))), strict=True))
    classes, palette = tuple(dataset.metainfo['classes']), _palette(dataset)
    names = list_files(path, ('.json',)) if format == 'labelme' else []
    settings: dict[str, Any] = {
        'tool': f'import_labels {format}',
        'version': __version__,
        'source_sha256': _digest(path, names) if format == 'labelme' else file_digest(path),
        'base': None if fallback is None else source_settings(fallback),
        'dataset': dataset_settings(dataset),
    }
    drawings = _labelme_drawings(path, names) if format == 'labelme' else _READERS[format](str(path))
    with Progress(len(infos)) as progress, atomic_write(out) as folder:
        target = ResultFolder(folder, '.png')
        target.start(settings)
        drawn: set[str] = set()
        for name, drawing in _matched(drawings, infos, _by_name(dataset, infos), path):
            if name in drawn:
                raise ValueError(f'{drawing.where}: a second entry for the image {infos[name]["img_path"]}')
            drawn.add(name)
            write_label_png(target.path(name), draw_label_map(drawing, classes), palette)
            progress.advance()
        missing = [name for name in infos if name not in drawn]
        if missing and fallback is None:
            raise FileNotFoundError(
                f'{path}: {len(missing)} of {len(infos)} images are not in it: {first_few(missing)}. Name a split '
                'without them, or with --base the folder of label maps to take them from'
            )
        if fallback is not None:
            fallback.require(missing)
            for name in missing:
                width, height = image_size(infos[name]['img_path'])
                labels = read_label_png(fallback.path(name), len(classes), (height, width))
                write_label_png(target.path(name), labels, palette)
                progress.advance()
    return Written(len(infos), len(drawn))


def _matched(
    drawings: Iterator[Drawing], infos: Mapping[str, Mapping[str, Any]], known: Mapping[str, str | None], path: Path
) -> Iterator[tuple[str, Drawing]]:
    """The drawings with the ids of their images, once their sizes are checked."""
    foreign = []
    for drawing in drawings:
        name = _find(drawing.name, known)
        if name is None:
            foreign.append(drawing.name)
            continue
        width, height = image_size(infos[name]['img_path'])
        if drawing.size != (height, width):
            raise ValueError(
                f'{drawing.where}: of an image of {drawing.size[1]}x{drawing.size[0]} pixels (width x height), but '
                f'{infos[name]["img_path"]} has {width}x{height}'
            )
        yield name, drawing
    if foreign:
        raise ValueError(
            f'{path}: {len(foreign)} of its images are not among the {len(infos)} of the data set: '
            f'{first_few(foreign)}. Name the split that they belong to'
        )


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise ValueError(f'format must be one of {", ".join(FORMATS)}, not {format!r}')


def _empty_folder(out_dir: str | Path) -> Path:
    """The folder to write; what a link leads to."""
    out = Path(os.path.realpath(out_dir))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out_dir}: exists already, perhaps with the work of a person in it; name another folder'
        )
    return out


def _palette(dataset: BaseSegDataset) -> Any:
    return dataset.metainfo.get('palette') or voc_palette(len(dataset.metainfo['classes']))


def _label_maps(
    dataset: BaseSegDataset, source: ResultFolder, progress: Progress
) -> Iterator[tuple[Mapping[str, Any], npt.NDArray[Any]]]:
    num_classes = len(dataset.metainfo['classes'])  # which is copied at every look
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        width, height = image_size(info['img_path'])
        path = source.path(image_id(info))
        yield info, read_label_png(path, num_classes, (height, width))
        progress.advance()


def _image_name(dataset: BaseSegDataset, info: Mapping[str, Any]) -> str:
    """Path of an image below the data set's image folder."""
    return Path(os.path.relpath(info['img_path'], dataset.data_prefix['img_path'])).as_posix()


def _by_name(dataset: BaseSegDataset, infos: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Image ids by what a file may call them: id, path, or file name; None where that is the name of several."""
    known: dict[str, str | None] = {}
    for name, info in infos.items():
        for key in {PurePosixPath(name).name, PurePosixPath(_image_name(dataset, info)).name}:
            known[key] = None if key in known else name
    for name, info in infos.items():
        path = PurePosixPath(_image_name(dataset, info))
        known[name] = known[str(path)] = known[str(path.with_suffix(''))] = name
    return known


def _find(name: str, known: Mapping[str, str | None]) -> str | None:
    """Id of the image that a file calls ``name``, with any suffix of images or none; other dots are part of it."""
    path = PurePosixPath(name.replace('\\', '/'))
    keys = [str(path), path.name]
    if path.suffix.lower() in IMAGE_SUFFIXES:
        keys[1:1] = [str(path.with_suffix(''))]
        keys.append(path.stem)
    return next((found for key in keys if (found := known.get(key)) is not None), None)


def _source_file(format: str, source: Path) -> Path:
    if format == 'labelme':
        if not source.is_dir():
            raise FileNotFoundError(f'{source}: no such folder')
        return source
    path = source / _FILES[format] if source.is_dir() else source
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    return path


def _digest(folder: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f'{name} {file_digest(folder / name)}\n'.encode())
    return digest.hexdigest()


def _labelme_drawings(folder: Path, names: list[str]) -> Iterator[Drawing]:
    for name in names:
        yield read_labelme(str(folder / name), name.removesuffix('.json'))
