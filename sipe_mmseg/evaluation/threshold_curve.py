"""mIoU of maps without a background of their own, at every threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .confusion import confusion_at_thresholds, iou_per_class, nan_mean, threshold_histogram

THRESHOLDS = tuple(step / 100 for step in range(100))


class ThresholdCurve:
    """Counts of maps over images, and the threshold that suits their masks best.

    Args:
        num_classes: Classes with background.
        thresholds: Ascending.
        ignore_index: Void of the ground truth.
        device: Where to count.

    Attributes:
        histogram: Counts (T + 1, C, C), see :func:`~sipe_mmseg.evaluation.confusion.confusion_at_thresholds`.
    """

    def __init__(
        self,
        num_classes: int,
        thresholds: Sequence[float] = THRESHOLDS,
        ignore_index: int = 255,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.num_classes = num_classes
        self.thresholds = tuple(thresholds)
        self.ignore_index = ignore_index
        shape = (len(self.thresholds) + 1, num_classes, num_classes)
        self.histogram = torch.zeros(shape, dtype=torch.int64, device=device)

    def add(self, maps: Tensor, classes: Tensor, truth: Tensor) -> None:
        """Count one image; arguments as in :meth:`count`."""
        self.add_counts(*self.count(maps, classes, truth))

    def count(self, maps: Tensor, classes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The counts of one image for :meth:`add_counts`, to be made in any thread.

        Args:
            maps: Maps (n, H, W) of the present classes in [0, 1].
            classes: Their class indices (n,).
            truth: Mask (H, W).

        Returns:
            Class indices (n,) and their counts (T + 1, n, C).
        """
        maps, classes, truth = (each.to(self.histogram.device) for each in (maps, classes, truth))
        if not len(classes):  # background everywhere, whatever the threshold
            maps, classes = torch.zeros_like(truth, dtype=torch.float32)[None], classes.new_zeros(1)
        thresholds = torch.tensor(self.thresholds, device=self.histogram.device)
        return classes, threshold_histogram(maps, classes, truth, thresholds, self.num_classes, self.ignore_index)

    def add_counts(self, classes: Tensor, counts: Tensor) -> None:
        """Add what :meth:`count` gives."""
        self.histogram[:, classes] += counts

    def confusions(self) -> npt.NDArray[Any]:
        """Confusion matrices (T, C, C) at each threshold, rows are true classes."""
        return confusion_at_thresholds(self.histogram.cpu().numpy())

    def miou(self) -> npt.NDArray[Any]:
        """mIoU at each threshold, in [0, 1]; NaN where nothing was counted."""
        return np.array([nan_mean(row) for row in iou_per_class(self.confusions())])

    def best_place(self) -> int | None:
        """Place of the threshold with the largest mIoU, picked on the ground truth that it is scored on."""
        miou = self.miou()
        return None if np.isnan(miou).all() else int(np.nanargmax(miou))

    def best(self) -> tuple[float, float]:
        """The largest mIoU and its threshold; NaN both where nothing was counted."""
        place = self.best_place()
        return (float('nan'), float('nan')) if place is None else (float(self.miou()[place]), self.thresholds[place])
