"""Gather a report: score a folder of label maps against the masks of a data set, and make thumbnails."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmseg.datasets import BaseSegDataset
from torch import Tensor

from ..datasets.cam_files import resize_cam
from ..datasets.image_files import read_rgb
from ..datasets.palette import voc_palette
from ..evaluation.confusion import iou_per_class, nan_mean
from ..evaluation.label_scores import LabelScores, image_confusion
from ..evaluation.labelled_images import LabelledImage, LabelledImages
from ..evaluation.threshold_curve import ThresholdCurve
from ..visualization.overlays import blend_heat
from .label_report import ImageFigures, LabelReport, Tile
from .thumbnails import image_thumbnail, image_uri, label_thumbnail, labels_uri


def collect_label_report(
    dataset: BaseSegDataset,
    folder: str | os.PathLike[str],
    *,
    title: str | None = None,
    cams: bool = False,
    cam_dir: str | os.PathLike[str] | None = None,
    ignore_unknown: bool = False,
    max_images: int = 1000,
    thumbnail_side: int = 160,
    on_images: Callable[[int], None] = lambda number: None,
    threads: int | None = None,
) -> LabelReport:
    """Score a folder of label maps, or look at it where there are no masks, and make thumbnails.

    Args:
        dataset: Images and, optionally, masks (``seg_map_path``); all of its images must be in the folder.
        folder: Folder of ``<image id>.png`` or, with ``cams``, ``<image id>.npz``.
        title: Name of the report; the folder's by default.
        cams: Whether the folder holds CAM files, whose argmax is the label map.
        cam_dir: Folder of CAM files of the same images, for the threshold curve and for pictures.
        ignore_unknown: Leave pixels labelled 255 out of the scores; else they are wrong.
        max_images: Most images to show. If there are more: with masks half of these the worst and half the best ones,
            without masks as many at equal distances.
        thumbnail_side: Longer side of a thumbnail in pixels.
        on_images: Called with 1 for each image that is counted, and again for each one that is shown.
        threads: Number of threads; by default that of the processors.

    Raises:
        FileNotFoundError: If the folder lacks images, or an image or a mask is not there.
        ValueError: If a file is not what it should be, or sizes differ; the message names it. If ``max_images`` or
            ``thumbnail_side`` is not positive.
    """
    for name, value in (('max_images', max_images), ('thumbnail_side', thumbnail_side)):
        if value < 1:
            raise ValueError(f'{name}={value}: must be at least 1')
    images = LabelledImages(dataset, folder, cams, cam_dir)
    num_classes = len(images.classes)
    pixels, labelled = np.zeros((2, num_classes + 1), np.int64)
    true_images = np.zeros(num_classes, np.int64)
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    curve = ThresholdCurve(num_classes)
    figures = []
    counted = images.map(lambda image: _Counts.of(image, curve), threads=threads)
    for index, counts in enumerate(counted):
        pixels += counts.pixels
        labelled += counts.pixels > 0
        if counts.confusion is not None:
            confusion += counts.confusion
            true_images += counts.confusion.sum(axis=1) > 0
        if counts.curve is not None:
            curve.add_counts(*counts.curve)
        figures.append(counts.figures(index, images.classes, ignore_unknown))
        on_images(1)

    palette = tuple((int(r), int(g), int(b)) for r, g, b in dataset.metainfo.get('palette') or voc_palette(num_classes))
    shown, selection = select_images(figures, max_images, scored=images.has_masks)
    tiles = []
    for made in images.map(lambda image: _tiles(image, palette, thumbnail_side), [f.index for f in shown], threads):
        tiles.append(made)
        on_images(1)
    has_cams = cams or cam_dir is not None
    return LabelReport(
        title=Path(folder).resolve().name if title is None else title,
        source='CAM files' if cams else 'label maps',
        classes=images.classes,
        palette=palette,
        num_images=len(images),
        pixels=pixels,
        images=labelled,
        true_images=true_images if images.has_masks else None,
        scores=LabelScores(images.classes, len(images), confusion, ignore_unknown) if images.has_masks else None,
        curve=curve if images.has_masks and has_cams else None,
        shown=tuple(zip(shown, tiles, strict=True)),
        selection=selection,
        settings=images.folder.settings(),
    )


def select_images(figures: Sequence[ImageFigures], max_images: int, scored: bool) -> tuple[list[ImageFigures], str]:
    """Choose the images to show, and put them into the order in which the page opens.

    Args:
        figures: Those of all images.
        max_images: Most images to choose.
        scored: Whether their ``score`` says how good they are.

    Returns:
        The images, from the worst to the best (those without a score at the end) if they are scored, else by name;
        and a sentence on which they are.
    """
    total = len(figures)
    if not scored:
        number = min(total, max_images)
        chosen = [figures[place * total // number] for place in range(number)]
        distances = f'{number} of {total} images, at equal distances in the order of the data set.'
        everyone = f'All {total} images.'
        return sorted(chosen, key=lambda each: each.image_id), everyone if number == total else distances
    ranked = sorted(figures, key=lambda each: (each.score is None, each.score or 0.0, each.image_id))
    if total <= max_images:
        return ranked, f'All {total} images.'
    rated = [each for each in ranked if each.score is not None]
    num_best = min(max_images // 2, len(rated) // 2)
    num_worst = min(max_images - num_best, len(rated) - num_best)
    chosen = rated[:num_worst] + rated[len(rated) - num_best :]
    return chosen, f'The {num_worst} worst and the {num_best} best of {total} images, by mIoU of the image.'


@dataclass(frozen=True)
class _Counts:
    """Counts of one image; ``curve`` are those of the foreground maps of its CAM file."""

    image_id: str
    pixels: npt.NDArray[Any]
    confusion: npt.NDArray[Any] | None
    curve: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, image: LabelledImage, curve: ThresholdCurve) -> '_Counts':
        num_classes = curve.num_classes
        pixels = np.bincount(np.minimum(image.labels, num_classes).ravel(), minlength=num_classes + 1)
        if image.truth is None:
            return cls(image.image_id, pixels, None, None)
        return cls(image.image_id, pixels, image_confusion(image, num_classes), _curve_counts(image, curve))

    def figures(self, index: int, classes: tuple[str, ...], ignore_unknown: bool) -> ImageFigures:
        shares = 100 * self.pixels / self.pixels.sum()
        unknown = float(shares[-1])
        if self.confusion is None:
            by_class = {key: float(shares[key]) for key in range(1, len(classes)) if self.pixels[key]}
            return ImageFigures(index, self.image_id, float(shares[1:-1].sum()), unknown, by_class)
        iou = iou_per_class(LabelScores(classes, 1, self.confusion, ignore_unknown).scored)
        score = nan_mean(iou)
        by_class = {key: 100 * float(iou[key]) for key in range(1, len(classes)) if not np.isnan(iou[key])}
        return ImageFigures(index, self.image_id, None if np.isnan(score) else 100 * score, unknown, by_class)


def _curve_counts(image: LabelledImage, curve: ThresholdCurve) -> tuple[Tensor, Tensor] | None:
    """Counts of the foreground maps of an image's CAM file, at the image's size."""
    if image.cam is None or image.truth is None:
        return None
    maps = resize_cam(image.cam.is_cam, image.cam.size)[1:]
    return curve.count(
        torch.from_numpy(maps), torch.from_numpy(image.cam.classes), torch.from_numpy(image.truth).long()
    )


def _tiles(image: LabelledImage, palette: Sequence[Sequence[int]], side: int) -> tuple[Tile, ...]:
    """Thumbnails of an image: itself, its IS-CAM if there is a CAM file, its label map, its mask if there is one."""
    picture = read_rgb(image.image_path)
    if picture.shape[:2] != image.labels.shape:
        raise ValueError(
            f'{image.image_path}: has {picture.shape[1]}x{picture.shape[0]} pixels (width x height), but its label map '
            f'has {image.labels.shape[1]}x{image.labels.shape[0]}: it belongs to another image or another size of it'
        )
    small = image_thumbnail(picture, side)
    height, width = small.shape[:2]
    tiles = [Tile('image', image_uri(small), width, height, False)]
    if image.cam is not None:
        maps = resize_cam(image.cam.is_cam, (height, width))[1:]
        heat = maps.max(axis=0, initial=0.0).clip(0, 1)
        tiles.append(Tile('IS-CAM', image_uri(blend_heat(small, heat)), width, height, False))
    for caption, labels in (('label map', image.labels), ('ground truth', image.truth)):
        if labels is not None:
            tiles.append(Tile(caption, labels_uri(label_thumbnail(labels, side), palette), width, height, True))
    return tuple(tiles)
