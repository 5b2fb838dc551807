"""The curve against a loop over thresholds, images and pixels, and against the metric's own figure."""

import math

import numpy as np
import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from sipe_mmseg.evaluation import CAMMetric
from sipe_mmseg.evaluation.threshold_curve import ThresholdCurve


def image(seed: int, classes: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    truth = torch.tensor([0, *classes, 255])[torch.randint(len(classes) + 2, (6, 7), generator=rng)]
    return torch.rand(len(classes), 6, 7, generator=rng), torch.tensor(classes, dtype=torch.long), truth


IMAGES = [image(0, [1, 3]), image(1, [2]), image(2, [])]


def slow_miou(threshold: float) -> float:
    hits, union = np.zeros(4), np.zeros(4)
    for maps, classes, truth in IMAGES:
        for y in range(6):
            for x in range(7):
                true = int(truth[y, x])
                if true == 255:
                    continue
                found = 0
                if len(classes) and maps[:, y, x].max() > threshold:
                    found = int(classes[maps[:, y, x].argmax()])
                if found == true:
                    hits[true] += 1
                    union[true] += 1
                else:
                    union[true] += 1
                    union[found] += 1
    return float((hits[union > 0] / union[union > 0]).mean())


def filled() -> ThresholdCurve:
    curve = ThresholdCurve(num_classes=4)
    for maps, classes, truth in IMAGES:
        curve.add(maps, classes, truth)
    return curve


def test_as_a_slow_loop_has_it() -> None:
    curve = filled()
    expected = [slow_miou(threshold) for threshold in curve.thresholds]
    np.testing.assert_allclose(curve.miou(), expected, rtol=1e-12)
    best, threshold = curve.best()
    assert best == max(expected) and expected[curve.thresholds.index(threshold)] == best


def figures_of_the_metric(images: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    metric = CAMMetric()
    metric.dataset_meta = dict(classes=('background', 'a', 'b', 'c'), palette=[[0, 0, 0]] * 4)
    samples = []
    for maps, classes, truth in images:
        sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
        found = torch.zeros(1, 6, 7, dtype=torch.long)
        labels = torch.zeros(3).index_fill(0, classes - 1, 1)
        sample.set_data(
            dict(
                pred_sem_seg=PixelData(data=found),
                gt_sem_seg=PixelData(data=truth[None]),
                localization=PixelData(cam=maps, seeds=found),
                present=LabelData(classes=classes, scores=labels, given=torch.tensor(True)),
                image_labels=LabelData(multi_hot=labels),
            )
        )
        samples.append(sample.to_dict())
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_is_the_figure_of_the_metric() -> None:
    figures = figures_of_the_metric(IMAGES)
    best, threshold = filled().best()
    assert figures['cam_mIoU_best(picked_on_ground_truth)'] == pytest.approx(100 * best, abs=0.005)
    assert figures['cam_best_threshold(picked_on_ground_truth)'] == threshold


def test_masks_of_nothing_but_void() -> None:
    maps, classes, truth = IMAGES[0]
    figures = figures_of_the_metric([(maps, classes, torch.full_like(truth, 255))])
    assert math.isnan(figures['mIoU']) and math.isnan(figures['cam_mIoU_best(picked_on_ground_truth)'])


def test_nothing_counted() -> None:
    assert all(math.isnan(number) for number in ThresholdCurve(num_classes=4).best())
