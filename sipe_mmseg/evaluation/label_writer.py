"""Predictions as files: label maps with a palette, and localisation maps for later stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from ..datasets.cam_files import CAM_STRIDE, strided_size, write_cam
from ..datasets.label_files import write_label_png
from ..datasets.palette import voc_palette
from ..datasets.result_folder import ResultFolder, image_id


@METRICS.register_module()
class LabelWriter(BaseMetric):
    """Write each prediction as soon as it is made, in the process that made it; nothing is scored and nothing kept.

    Works with any model that predicts ``pred_sem_seg``.

    Args:
        output_dir: Folder for label maps, palette PNGs ``<image id>.png``.
        cam_dir: Folder for CAM files ``<image id>.npz`` (:mod:`sipe_mmseg.datasets.cam_files`), or None for none. Needs
            a model that predicts ``localization``, such as SIPE.
        cam_stride: Stride of the maps in these files.
        collect_device: As in MMEngine.
        prefix: As in MMEngine.

    Raises:
        ValueError: If the stride is less than 1.
    """

    def __init__(
        self,
        output_dir: str,
        cam_dir: str | None = None,
        cam_stride: int = CAM_STRIDE,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if cam_stride < 1:
            raise ValueError(f'cam_stride must be at least 1, not {cam_stride}')
        self.labels = ResultFolder(Path(output_dir), '.png')
        self.cams = ResultFolder(Path(cam_dir), '.npz') if cam_dir else None
        self.cam_stride = cam_stride
        self._made_with: str | None = None
        self._num_written = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Write one batch of predictions.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts, as MMEngine's loops hand them on.

        Raises:
            ValueError: If CAM files are wanted and the model predicts no localisation maps.
        """
        palette = self.dataset_meta.get('palette') or voc_palette(256)
        for sample in data_samples:
            name = image_id(sample)
            # The label map comes last: where it is, the CAM file is, too.
            if self.cams is not None:
                self._write_cam(self.cams, name, sample)
            prediction = sample['pred_sem_seg']['data'][0].cpu().numpy()
            write_label_png(self.labels.path(name), prediction, palette)
            self._num_written += 1

    def evaluate(self, size: int) -> dict[str, int]:
        """Count the images written by all processes.

        Args:
            size: Images of the data set, not used.

        Returns:
            ``written``, the same in every process.
        """
        written = sum(all_gather_object(self._num_written))
        self._num_written = 0
        return self.compute_metrics([written])

    def compute_metrics(self, results: list[int]) -> dict[str, int]:
        """``written``, the sum of the numbers of images."""
        return {f'{self.prefix}/written' if self.prefix else 'written': sum(results)}

    def _write_cam(self, folder: ResultFolder, name: str, sample: Mapping[str, Any]) -> None:
        if 'localization' not in sample or 'is_cam' not in sample['localization']:
            raise ValueError(
                f'{sample["img_path"]}: this model predicts no localization.is_cam to write into {folder.root}: '
                'leave cam_dir (--cams) out'
            )
        if self._made_with is None:
            self._made_with = folder.digest()
        is_cam, classes = sample['localization']['is_cam'].float(), sample['present']['classes']
        size = (is_cam.shape[1], is_cam.shape[2])
        maps = F.interpolate(
            is_cam[None], size=strided_size(size, self.cam_stride), mode='bilinear', align_corners=False
        )[0]
        write_cam(folder.path(name), classes.cpu().numpy(), maps.cpu().numpy(), size, self._made_with)
