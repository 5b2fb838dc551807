"""Scores of label maps on disk (SIPE, section 4.1: mean IoU over all pixels of a data set)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmseg.datasets import BaseSegDataset
from prettytable import PrettyTable

from .confusion import confusion_matrix, false_negative_rate, false_positive_rate, iou_per_class, nan_mean
from .labelled_images import LabelledImage, LabelledImages


@dataclass(frozen=True)
class LabelScores:
    """Counts of a folder of label maps, and what follows from them.

    Attributes:
        classes: Names of all classes, background first.
        num_images: Images that were scored.
        confusion: Pixels (C, C + 1) by true class (row) and labelled class; the last column is unknown (255). Void
            pixels of the ground truth are left out.
        ignore_unknown: Whether unknown pixels are left out of the scores; else they are wrong.
    """

    classes: tuple[str, ...]
    num_images: int
    confusion: npt.NDArray[Any]
    ignore_unknown: bool = False

    @property
    def scored(self) -> npt.NDArray[Any]:
        """The confusion matrix that the scores are made of."""
        return self.confusion[:, :-1] if self.ignore_unknown else self.confusion

    def figures(self) -> dict[str, Any]:
        """All figures, percentages but for the counts.

        ``mIoU``; ``FP`` and ``FN``, mean over- and under-activation of the foreground classes; ``unknown``, the share
        of pixels labelled 255, and their number; of the other pixels the share that is right: of all of them, of
        those labelled background, and of those labelled foreground; ``IoU`` of each class.
        """
        known = self.confusion[:, :-1]
        hits, labelled = np.diagonal(known), known.sum(axis=0)
        unknown = int(self.confusion[:, -1].sum())
        iou = iou_per_class(self.scored)
        return {
            'mIoU': _percent(nan_mean(iou)),
            'FP': _percent(nan_mean(false_positive_rate(self.scored)[1:])),
            'FN': _percent(nan_mean(false_negative_rate(self.scored)[1:])),
            'unknown': _percent(_share(unknown, self.confusion.sum())),
            'unknown_pixels': unknown,
            'right_of_known': _percent(_share(hits.sum(), labelled.sum())),
            'right_of_background': _percent(_share(hits[0], labelled[0])),
            'right_of_foreground': _percent(_share(hits[1:].sum(), labelled[1:].sum())),
            'unknown_ignored': self.ignore_unknown,
            'num_images': self.num_images,
            'IoU': {name: _percent(value) for name, value in zip(self.classes, iou, strict=True)},
        }

    def table(self) -> str:
        """IoU, false positives and false negatives of each class in %, for people."""
        table = PrettyTable(['class', 'IoU', 'FP', 'FN'])
        table.align = 'r'
        table.align['class'] = 'l'
        columns = (measure(self.scored) for measure in (iou_per_class, false_positive_rate, false_negative_rate))
        for name, *values in zip(self.classes, *columns, strict=True):
            table.add_row([name, *('-' if np.isnan(value) else f'{100 * value:.2f}' for value in values)])
        return str(table.get_string())

    def summary(self) -> str:
        """The figures in a few lines, for people."""
        figures = self.figures()
        how = 'left out of the scores' if self.ignore_unknown else 'counted as wrong'
        return '\n'.join(
            [
                f'mIoU {_shown(figures["mIoU"])} %, FP {_shown(figures["FP"])} %, FN {_shown(figures["FN"])} % '
                f'({self.num_images} images)',
                f'unknown (255): {figures["unknown_pixels"]} pixels, {_shown(figures["unknown"])} % of all, {how}',
                f'of the other pixels are right: {_shown(figures["right_of_known"])} %; of those labelled background '
                f'{_shown(figures["right_of_background"])} %, foreground {_shown(figures["right_of_foreground"])} %',
            ]
        )


def score_labels(
    dataset: BaseSegDataset,
    folder: str | os.PathLike[str],
    *,
    cams: bool = False,
    ignore_unknown: bool = False,
    on_images: Callable[[int], None] = lambda number: None,
    threads: int | None = None,
) -> LabelScores:
    """Score a folder of label maps, or the argmax of a folder of CAM files, against the masks of a data set.

    All pixels of all images go into one confusion matrix; 255 in a mask is left out, classes that are in neither masks
    nor label maps are left out of the means.

    Args:
        dataset: Images and masks (``seg_map_path``); all of its images must be in the folder.
        folder: Folder of ``<image id>.png`` or, with ``cams``, ``<image id>.npz``.
        cams: Whether the folder holds CAM files.
        ignore_unknown: Leave pixels labelled 255 out of the scores, too; else they are wrong.
        on_images: Called with the number of images counted, now and then.
        threads: Number of threads; by default that of the processors.

    Raises:
        FileNotFoundError: If the folder lacks images, or a mask is not there.
        ValueError: If there is nothing to score against, or a file is not what it should be; the message names it.
    """
    images = LabelledImages(dataset, folder, cams)
    if not images.has_masks:
        raise ValueError('the data set names no masks to score against: give it a data_prefix.seg_map_path')
    confusion = np.zeros((len(images.classes), len(images.classes) + 1), dtype=np.int64)
    for counts in images.map(lambda image: image_confusion(image, len(images.classes)), threads=threads):
        confusion += counts
        on_images(1)
    return LabelScores(images.classes, len(images), confusion, ignore_unknown)


def image_confusion(image: LabelledImage, num_classes: int) -> npt.NDArray[Any]:
    """Pixels (C, C + 1) of one image by true class (row) and labelled class; the last column is unknown (255).

    Raises:
        ValueError: If the image has no mask.
    """
    if image.truth is None:
        raise ValueError(f'{image.image_path}: has no mask to score against')
    labels, truth = torch.from_numpy(image.labels).long(), torch.from_numpy(image.truth).long()
    return np.asarray(confusion_matrix(labels, truth, num_classes))


def _percent(share: float) -> float | None:
    """Two digits of a percentage; None, which JSON has a word for, in place of NaN."""
    return None if np.isnan(share) else round(100 * float(share), 2)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')


def _shown(percentage: float | None) -> str:
    return '-' if percentage is None else f'{percentage:.2f}'
