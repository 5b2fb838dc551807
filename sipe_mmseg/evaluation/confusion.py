"""Pure counting behind the metrics: confusion matrices, threshold curves, average precision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        prediction: Class indices, any shape. A value that is no class (such as a pixel without a seed) is counted as
            wrong: in a last column of its own.
        truth: Class indices of the same shape; pixels of ``ignore_index`` are left out.
        num_classes: Classes with background.
        ignore_index: Void of the ground truth.

    Returns:
        int64 (num_classes, num_classes + 1), rows are true classes.
    """
    known = truth != ignore_index
    prediction = prediction[known].clamp(max=num_classes)
    index = truth[known] * (num_classes + 1) + prediction
    counts = torch.bincount(index, minlength=num_classes * (num_classes + 1))
    return counts.view(num_classes, num_classes + 1)


def threshold_histogram(
    cam: Tensor, classes: Tensor, truth: Tensor, thresholds: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Count pixels by how many thresholds their strongest class exceeds, by that class, and by the true class.

    From it :func:`confusion_at_thresholds` gives the confusion matrix of every threshold without another look at the
    maps.

    Args:
        cam: General CAM (n, H, W) of the present classes.
        classes: Their class indices (n,).
        truth: (H, W).
        thresholds: Ascending (T,).
        num_classes: Classes with background.
        ignore_index: Void of the ground truth.

    Returns:
        int64 (T + 1, n, num_classes).
    """
    shape = (len(thresholds) + 1, len(classes), num_classes)
    known = truth != ignore_index
    value, winner = cam[:, known].max(dim=0)
    exceeded = torch.bucketize(value, thresholds.to(value))
    index = (exceeded * shape[1] + winner) * shape[2] + truth[known]
    return torch.bincount(index, minlength=shape[0] * shape[1] * shape[2]).view(shape)


def confusion_at_thresholds(histogram: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn (T + 1, num_classes, num_classes) counts [thresholds exceeded, winning class, true class] into confusions.

    At threshold t the pixels that exceed it keep their winning class, the others are background.

    Returns:
        (T, num_classes, num_classes), rows are true classes.
    """
    above = histogram[::-1].cumsum(axis=0)[::-1][1:]
    confusion: npt.NDArray[Any] = above.transpose(0, 2, 1).copy()
    confusion[:, :, 0] += histogram.sum(axis=(0, 1)) - above.sum(axis=1)
    return confusion


def iou_per_class(confusion: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Intersection over union of each class, NaN where neither truth nor prediction has the class.

    Args:
        confusion: (..., C, C or more), rows are true classes; further columns are predictions of no class.

    Returns:
        (..., C) in [0, 1].
    """
    hit, true, predicted = _hit_true_predicted(confusion)
    return _ratio(hit, true + predicted - hit)


def false_positive_rate(confusion: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Over-activation of each class: wrongly claimed pixels over the union; the three rates sum to 1."""
    hit, true, predicted = _hit_true_predicted(confusion)
    return _ratio(predicted - hit, true + predicted - hit)


def false_negative_rate(confusion: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Under-activation of each class: missed pixels over the union; the three rates sum to 1."""
    hit, true, predicted = _hit_true_predicted(confusion)
    return _ratio(true - hit, true + predicted - hit)


def average_precision(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Area under each class's precision-recall curve, precision averaged over the positives; equal scores are one step.

    Args:
        scores: (N, K), higher is surer.
        labels: (N, K), 0 or 1.

    Returns:
        (K,) in [0, 1], NaN for a class without a positive.
    """
    result = np.full(scores.shape[1], np.nan)
    for index, (score, label) in enumerate(zip(scores.T, labels.T, strict=True)):
        if not label.any():
            continue
        order = np.argsort(-score, kind='stable')
        last_of_step = np.append(np.nonzero(np.diff(score[order]))[0], len(order) - 1)
        hits = label[order].cumsum()[last_of_step]
        precision = hits / (last_of_step + 1)
        result[index] = np.sum(np.diff(hits, prepend=0) * precision) / hits[-1]
    return result


def nan_mean(values: Sequence[float] | npt.NDArray[Any]) -> float:
    """Mean of the values that are a number; NaN, without a warning, if none is."""
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else float('nan')


def _hit_true_predicted(confusion: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    num_classes = confusion.shape[-2]
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hit, confusion.sum(axis=-1), confusion[..., :num_classes].sum(axis=-2)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
