"""mIoU of maps without a background of their own, at every threshold."""

from collections.abc import Sequence

import numpy as np
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
    """

    def __init__(self, num_classes: int, thresholds: Sequence[float] = THRESHOLDS, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.thresholds = tuple(thresholds)
        self.ignore_index = ignore_index
        self.histogram = torch.zeros(len(self.thresholds) + 1, num_classes, num_classes, dtype=torch.int64)

    def add(self, maps: Tensor, classes: Tensor, truth: Tensor) -> None:
        """Count one image.

        Args:
            maps: Maps (n, H, W) of the present classes in [0, 1].
            classes: Their class indices (n,).
            truth: Mask (H, W).
        """
        maps, classes, truth = maps.cpu(), classes.cpu(), truth.cpu()
        if len(classes):
            thresholds = torch.tensor(self.thresholds)
            self.histogram[:, classes] += threshold_histogram(
                maps, classes, truth, thresholds, self.num_classes, self.ignore_index
            )
        else:  # background everywhere, whatever the threshold
            known = truth[truth != self.ignore_index]
            self.histogram[0, 0] += torch.bincount(known, minlength=self.num_classes)

    def miou(self) -> np.ndarray:
        """mIoU at each threshold, in [0, 1]."""
        return np.array([nan_mean(row) for row in iou_per_class(confusion_at_thresholds(self.histogram.numpy()))])

    def best(self) -> tuple[float, float]:
        """The largest mIoU, and its threshold: picked on the ground truth that it is scored on."""
        miou = self.miou()
        if np.isnan(miou).all():
            return float('nan'), float('nan')
        index = int(np.nanargmax(miou))
        return float(miou[index]), self.thresholds[index]
