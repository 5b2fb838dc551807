"""CAM mIoU and what goes with it, streamed over a data set."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from ..datasets.label_files import write_label_png
from .confusion import (
    average_precision,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    iou_per_class,
    nan_mean,
)
from .threshold_curve import THRESHOLDS, ThresholdCurve

_NOTHING_LOST = 'A checkpoint saved before is safe: mend the mask, then score with tools/test.py'


@METRICS.register_module()
class CAMMetric(BaseMetric):
    """Score IS-CAM, general CAM, seeds and classifier against masks (published evaluation of SIPE).

    All pixels of all images go into one confusion matrix a map; void pixels of the ground truth are left out, classes
    that are absent from truth and prediction do not enter a mean. Nothing but these counts is kept, and K scores an
    image for the average precision (which is a ranking of all images): memory does not grow with the images' maps.

    The first figure, ``mIoU``, is that of IS-CAM's label map (argmax, no threshold), which a paper would quote.
    ``cam_mIoU@t`` is that of the general CAM at the fixed threshold ``t``, ``cam_mIoU_best(picked_on_ground_truth)``
    at the threshold that is best on the very masks it is scored on. ``FP`` and ``FN`` are the foreground classes' mean
    over- and under-activation of IS-CAM, as fractions of the union. All figures are percentages.

    Args:
        cam_threshold: Fixed threshold of the general CAM; 0.15 is the published one.
        thresholds: Thresholds of the curve. None takes 0.00, 0.01, ... 0.99.
        ignore_index: Void of the ground truth.
        output_dir: Folder for label maps of IS-CAM as palette PNGs, named after the image; mmseg's
            ``tools/test.py --out`` sets it.
        format_only: Write label maps and score nothing (no masks needed).
        keep_results: Accepted because mmseg's ``tools/test.py --out`` passes it; counts are all there is to keep.
        collect_device: As in MMEngine.
        prefix: As in MMEngine.
    """

    def __init__(
        self,
        cam_threshold: float = 0.15,
        thresholds: Sequence[float] | None = None,
        ignore_index: int = 255,
        output_dir: str | None = None,
        format_only: bool = False,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        curve = THRESHOLDS if thresholds is None else [float(t) for t in thresholds]
        self.cam_threshold = cam_threshold
        self.thresholds = sorted({*curve, cam_threshold})
        self.ignore_index = ignore_index
        self.output_dir = Path(output_dir) if output_dir else None
        self.format_only = format_only
        if format_only and not output_dir:
            raise ValueError(
                'CAMMetric(format_only=True) writes label maps and nothing else: '
                'give it an output_dir (tools/test.py --out)'
            )
        self._reset()

    def _reset(self) -> None:
        self.num_images = 0
        self.num_unlabelled = 0
        self._counts: dict[str, Tensor] = {}
        self._curve: ThresholdCurve | None = None
        # One growing buffer each: small arrays that stay, one for each image, keep the heap from ever shrinking.
        self._scores, self._labels = array('f'), array('B')

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count one batch of predictions.

        Args:
            data_batch: Not used.
            data_samples: Predictions as :meth:`sipe_mmseg.models.SIPESegmentor.pack` leaves them, as dicts.

        Raises:
            ValueError: If a mask is missing, has another size than its image, or holds an unknown class.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'][0]
            given = bool(sample['present']['given'])
            self.num_images += 1
            self.num_unlabelled += not given
            if self.output_dir is not None:
                name = sample.get('img_id') or Path(sample['img_path']).stem
                path = self.output_dir / f'{name}.png'
                write_label_png(path, prediction.cpu().numpy(), self.dataset_meta['palette'])
            if self.format_only:
                continue
            truth = self._truth(sample, prediction)
            classes, maps = sample['present']['classes'], sample['localization']
            counts, curve = self._counting(truth.device)
            counts['is_cam'] += confusion_matrix(prediction, truth, num_classes, self.ignore_index)
            counts['seeds'] += confusion_matrix(maps['seeds'][0], truth, num_classes, self.ignore_index)
            curve.add(maps['cam'], classes, truth)
            if given:
                self._scores.extend(sample['present']['scores'].float().tolist())
                self._labels.extend((sample['image_labels']['multi_hot'] > 0).tolist())

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum the counts over processes and turn them into figures.

        Args:
            size: Images of the data set.

        Returns:
            Figures by name, the same in every process.

        Raises:
            ValueError: If other than ``size`` images were scored.
        """
        parts = all_gather_object((self.num_images, self.num_unlabelled, self._scores, self._labels))
        num_images, num_unlabelled = sum(part[0] for part in parts), sum(part[1] for part in parts)
        if num_images != size:
            raise ValueError(
                f'CAMMetric counted {num_images} images, but the data set has {size}. With several processes a sampler '
                "that rounds up repeats images: use sampler=dict(type='DefaultSampler', shuffle=False, round_up=False)"
            )
        logger = MMLogger.get_current_instance()
        if num_unlabelled:
            print_log(
                f'{num_unlabelled} of {num_images} images have no image-level labels: their classes are those that the '
                "classifier's own scores put above test_cfg.score_threshold",
                logger,
            )
        metrics: dict[str, float] = {}
        if not self.format_only:
            counts, curve = self._counting('cpu')
            for value in (*counts.values(), curve.histogram):
                all_reduce(value)
            shape = (-1, len(self.dataset_meta['classes']) - 1)
            scores = np.concatenate([np.array(part[2], np.float32) for part in parts]).reshape(shape)
            labels = np.concatenate([np.array(part[3], bool) for part in parts]).reshape(shape)
            matrices = {name: value.cpu().numpy() for name, value in counts.items()}
            metrics = self.compute_metrics(dict(matrices, curve=curve, scores=scores, labels=labels))
        if self.output_dir is not None:
            print_log(f'Label maps of IS-CAM are in {self.output_dir}', logger)
        self._reset()
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {f'{prefix}{name}': value for name, value in metrics.items()}

    def compute_metrics(self, results: dict[str, Any]) -> dict[str, float]:
        """Turn the summed counts into figures and log the tables.

        Args:
            results: Confusion matrices ``is_cam`` and ``seeds``, the ``curve`` of the general CAM, and the classifier's
                ``scores`` and the ``labels`` (N, K) of the images that have labels.

        Returns:
            Figures by name, in %; NaN for a figure of nothing.
        """
        is_cam, scores = results['is_cam'], results['scores']
        confusions, curve_miou = results['curve'].confusions(), results['curve'].miou().tolist()
        best = results['curve'].best_place() or 0
        fixed = self.thresholds.index(self.cam_threshold)
        false_positive, false_negative = false_positive_rate(is_cam), false_negative_rate(is_cam)
        columns = {
            'IS-CAM': iou_per_class(is_cam),
            'FP': false_positive,
            'FN': false_negative,
            f'CAM@{self.cam_threshold:g}': iou_per_class(confusions[fixed]),
            'CAM best': iou_per_class(confusions[best]),
            'seeds': iou_per_class(results['seeds']),
        }
        metrics = {
            'mIoU': nan_mean(columns['IS-CAM']),
            f'cam_mIoU@{self.cam_threshold:g}': curve_miou[fixed],
            'cam_mIoU_best(picked_on_ground_truth)': curve_miou[best],
            'seed_mIoU': nan_mean(columns['seeds']),
            'FP': nan_mean(false_positive[1:]),
            'FN': nan_mean(false_negative[1:]),
        }
        if len(scores):
            precision = average_precision(scores, results['labels'])
            columns['AP'] = np.concatenate([[np.nan], precision])
            metrics['mAP'] = nan_mean(precision)
        metrics = {name: round(100 * value, 2) for name, value in metrics.items()}
        metrics['cam_best_threshold(picked_on_ground_truth)'] = self.thresholds[best]
        print_log(f'CAM mIoU (IS-CAM): {metrics["mIoU"]:.2f}', MMLogger.get_current_instance())
        self._log_tables(columns, curve_miou, best)
        return metrics

    def _log_tables(self, columns: dict[str, npt.NDArray[Any]], curve_miou: Sequence[float], best: int) -> None:
        table = PrettyTable(['class', *columns])
        for index, name in enumerate(self.dataset_meta['classes']):
            values = (column[index] for column in columns.values())
            table.add_row([name, *('-' if np.isnan(value) else f'{100 * value:.2f}' for value in values)])
        logger = MMLogger.get_current_instance()
        print_log('Per class, in %: IoU of IS-CAM, its over- and under-activation, IoU of CAM and seeds, AP', logger)
        print_log('\n' + table.get_string(), logger)
        every = max(1, len(self.thresholds) // 20)
        points = [f'{t:g}:{100 * m:.2f}' for t, m in zip(self.thresholds, curve_miou, strict=True)][::every]
        print_log(
            f'General CAM, threshold:mIoU  {" ".join(points)}\nBest at {self.thresholds[best]:g} - a threshold picked '
            'on the ground truth that it is scored on',
            logger,
        )

    def _truth(self, sample: dict[str, Any], prediction: Tensor) -> Tensor:
        if 'gt_sem_seg' not in sample:
            raise ValueError(
                f'{sample["img_path"]} comes without a mask to score against: give the data set a '
                'data_prefix.seg_map_path and the pipeline LoadScoringMask, or use CAMMetric(format_only=True)'
            )
        truth: Tensor = sample['gt_sem_seg']['data'].squeeze(0).to(prediction.device)
        if truth.shape != prediction.shape:
            raise ValueError(
                f'{sample.get("seg_map_path", "the mask")} has {truth.shape[0]} x {truth.shape[1]} pixels, its image '
                f'{sample["img_path"]} has {prediction.shape[0]} x {prediction.shape[1]}: they must be '
                f'the same. {_NOTHING_LOST}'
            )
        num_classes = len(self.dataset_meta['classes'])
        wrong = truth[(truth >= num_classes) & (truth != self.ignore_index)]
        if len(wrong):
            raise ValueError(
                f'{sample.get("seg_map_path", "the mask")} holds the value {int(wrong[0])}, which is neither one of '
                f'the {num_classes} classes (0 to {num_classes - 1}) nor void ({self.ignore_index}). '
                f'{_NOTHING_LOST}'
            )
        return truth

    def _counting(self, device: torch.device | str) -> tuple[dict[str, Tensor], ThresholdCurve]:
        """The counts so far; where there are none, zeros on a device."""
        num_classes = len(self.dataset_meta['classes'])
        if not self._counts:
            shape = (num_classes, num_classes + 1)
            self._counts = {name: torch.zeros(shape, dtype=torch.int64, device=device) for name in ('is_cam', 'seeds')}
        if self._curve is None:
            self._curve = ThresholdCurve(num_classes, self.thresholds, self.ignore_index, device)
        return self._counts, self._curve
