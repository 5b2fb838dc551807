"""Counting against loops over single pixels."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from sipe_mmseg.evaluation.confusion import (
    average_precision,
    confusion_at_thresholds,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    iou_per_class,
    nan_mean,
    threshold_histogram,
)

C = 5
VOID = 255


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def draw_truth(*shape: int) -> Tensor:
    """Classes 0 to 3 of 5, and void."""
    truth = torch.randint(C, shape)
    return torch.where(truth == C - 1, VOID, truth)


def slow_rates(prediction: list[int], truth: list[int], num_classes: int) -> dict[str, list[float]]:
    """IoU, over- and under-activation of each class, pixel by pixel; NaN for a class that is nowhere."""
    rates: dict[str, list[float]] = dict(iou=[], false_positive=[], false_negative=[])
    for k in range(num_classes):
        both = predicted_only = true_only = 0
        for p, t in zip(prediction, truth, strict=True):
            if t == VOID:
                continue
            both += p == k and t == k
            predicted_only += p == k and t != k
            true_only += p != k and t == k
        union = both + predicted_only + true_only
        for name, part in (('iou', both), ('false_positive', predicted_only), ('false_negative', true_only)):
            rates[name].append(part / union if union else float('nan'))
    return rates


def assert_rates(confusion: np.ndarray, expected: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(iou_per_class(confusion), expected['iou'])
    np.testing.assert_allclose(false_positive_rate(confusion), expected['false_positive'])
    np.testing.assert_allclose(false_negative_rate(confusion), expected['false_negative'])


class TestConfusionMatrix:
    def test_by_hand(self) -> None:
        truth = torch.tensor([[0, 0, 1], [1, 255, 2]])
        prediction = torch.tensor([[0, 1, 1], [255, 2, 0]])
        assert confusion_matrix(prediction, truth, 3).tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]]

    def test_is_the_loop_over_pixels(self) -> None:
        truth, prediction = draw_truth(20, 30), torch.randint(C - 1, (20, 30))  # class 4 is nowhere
        prediction[torch.rand(20, 30) < 0.2] = VOID
        confusion = confusion_matrix(prediction, truth, C).numpy()
        assert confusion.sum() == (truth != VOID).sum()
        expected = slow_rates(prediction.flatten().tolist(), truth.flatten().tolist(), C)
        assert np.isnan(expected['iou'][4])
        assert not np.isnan(expected['iou'][:4]).any()
        assert_rates(confusion, expected)

    def test_void_counts_in_the_truth_only(self) -> None:
        truth = torch.tensor([1, 1, 1, 1])
        confusion = confusion_matrix(torch.tensor([1, 255, 255, 255]), truth, 2).numpy()
        assert iou_per_class(confusion)[1] == 0.25
        confusion = confusion_matrix(truth, torch.tensor([1, 255, 255, 255]), 2).numpy()
        assert iou_per_class(confusion)[1] == 1.0

    def test_other_void(self) -> None:
        assert confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 7]), 2, ignore_index=7).sum() == 1

    def test_all_void(self) -> None:
        assert confusion_matrix(torch.zeros(3, 3).long(), torch.full((3, 3), VOID), 2).tolist() == [[0] * 3] * 2


class TestRates:
    def test_the_three_sum_to_1(self) -> None:
        confusion = torch.randint(50, (C, C + 1)).numpy()
        total = iou_per_class(confusion) + false_positive_rate(confusion) + false_negative_rate(confusion)
        np.testing.assert_allclose(total, 1)

    def test_leading_dimensions(self) -> None:
        confusion = torch.randint(50, (3, C, C)).numpy()
        np.testing.assert_array_equal(iou_per_class(confusion), [iou_per_class(single) for single in confusion])

    def test_absent_class_is_nan_without_a_warning(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            iou = iou_per_class(np.array([[3, 0, 0], [0, 0, 0], [0, 0, 4]]))
        np.testing.assert_array_equal(iou, [1, np.nan, 1])

    def test_nan_mean(self) -> None:
        assert nan_mean([0.5, float('nan'), 1.0]) == 0.75
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert np.isnan(nan_mean([float('nan')]))
            assert np.isnan(nan_mean([]))


class TestThresholdCurve:
    @pytest.mark.parametrize('classes', [[1, 3], [2], [1, 2, 3, 4]])
    def test_every_threshold_is_the_loop_over_pixels(self, classes: list[int]) -> None:
        truth = draw_truth(12, 15)
        # Values on the thresholds themselves, and the float32 next to them, are among the pixels.
        thresholds = torch.tensor([0.0, 0.1, 0.15, 0.3, 0.7, 0.99])
        cam = torch.rand(len(classes), 12, 15)
        cam[:, :3] = thresholds[torch.randint(len(thresholds), (len(classes), 3, 15))]
        cam[:, 3] = torch.nextafter(torch.tensor(0.15), torch.tensor(1.0))
        histogram = torch.zeros(len(thresholds) + 1, C, C, dtype=torch.int64)
        histogram[:, classes] = threshold_histogram(cam, torch.tensor(classes), truth, thresholds, C)
        curve = confusion_at_thresholds(histogram.numpy())
        assert curve.shape == (len(thresholds), C, C)
        for threshold, confusion in zip(thresholds.tolist(), curve, strict=True):
            prediction = []
            for r in range(12):
                for c in range(15):
                    column = cam[:, r, c].tolist()
                    best = max(column)
                    prediction.append(classes[column.index(best)] if best > threshold else 0)
            assert confusion.sum() == (truth != VOID).sum()
            assert_rates(confusion, slow_rates(prediction, truth.flatten().tolist(), C))

    def test_by_hand(self) -> None:
        cam = torch.tensor([[[0.2, 0.6, 0.6, 0.9]]])
        truth = torch.tensor([[0, 0, 1, 255]])
        histogram = threshold_histogram(cam, torch.tensor([1]), truth, torch.tensor([0.1, 0.5]), 2)
        assert histogram.tolist() == [[[0, 0]], [[1, 0]], [[1, 1]]]
        full = np.zeros((3, 2, 2), dtype=np.int64)
        full[:, 1:] = histogram.numpy()
        assert confusion_at_thresholds(full).tolist() == [[[0, 2], [0, 1]], [[1, 1], [0, 1]]]


class TestAveragePrecision:
    def slow(self, scores: np.ndarray, labels: np.ndarray) -> list[float]:
        """Mean over the positives of the precision among all images that score at least as high."""
        result = []
        for score, label in zip(scores.T, labels.T, strict=True):
            precisions = []
            for own, positive in zip(score, label, strict=True):
                if positive:
                    above = [bool(p) for s, p in zip(score, label, strict=True) if s >= own]
                    precisions.append(sum(above) / len(above))
            result.append(sum(precisions) / len(precisions) if precisions else float('nan'))
        return result

    @pytest.mark.parametrize('levels', [3, 10, 10**6])
    def test_is_the_definition(self, levels: int) -> None:
        rng = np.random.default_rng(0)
        scores = rng.integers(levels, size=(40, 6)) / levels  # with few levels most scores are tied
        labels = rng.random((40, 6)) < np.array([0.1, 0.5, 0.9, 0.3, 0.0, 1.0])
        found, expected = average_precision(scores, labels), self.slow(scores, labels)
        assert np.isnan(expected[4])
        assert expected[5] == 1
        np.testing.assert_allclose(found, expected)

    def test_by_hand(self) -> None:
        labels = np.array([[1], [0], [1], [0]])
        assert average_precision(np.array([[0.9], [0.8], [0.7], [0.1]]), labels) == pytest.approx((1 + 2 / 3) / 2)
        assert average_precision(np.array([[0.9], [0.9], [0.9], [0.9]]), labels) == pytest.approx(0.5)

    def test_order_of_images_does_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        scores, labels, order = rng.integers(4, size=(30, 2)), rng.random((30, 2)) < 0.4, rng.permutation(30)
        np.testing.assert_allclose(average_precision(scores, labels), average_precision(scores[order], labels[order]))
