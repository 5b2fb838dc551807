"""MMSegmentation's visualizer, which also draws what SIPE finds."""

import logging
import os
from typing import Any

import mmcv
import numpy as np
from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.visualization import LocalVisBackend
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from ..datasets.image_files import sample_problem
from ..datasets.palette import voc_palette
from .gallery import prediction_panel
from .overlays import ByteImage, panel

_GROUND_TRUTH = ('gt_sem_seg', 'gt_depth_map')
_PREDICTION = ('pred_sem_seg', 'pred_depth_map')


@VISUALIZERS.register_module()
class SIPELocalVisualizer(SegLocalVisualizer):
    """Hands pictures of data samples to its backends: files, TensorBoard, W&B and whatever else MMEngine knows.

    * A prediction of SIPE (``localization``) as :func:`~sipe_mmseg.visualization.prediction_panel`: image, CAM, IS-CAM,
      seeds, nearest prototypes, label map and ground truth side by side, with a legend.
    * Another sample with a prediction or ground truth as MMSegmentation draws it, with any version of OpenCV.
    * A sample with neither, such as those of a training with image-level labels: the image, and its labels below it.

    Arguments are those of ``SegLocalVisualizer``. Classes and palette are those of ``dataset_meta``, which MMEngine's
    loops set. The first picture that is not whole in its file, for which MMEngine has no word, is a warning.
    """

    _warned = False

    @master_only
    def add_datasample(
        self,
        name: str,
        image: ByteImage,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = True,
    ) -> None:
        """Draw a sample and hand the picture to all backends, in the first process alone.

        Args:
            name: Name of the picture.
            image: RGB image (H, W, 3), uint8, of the size of the sample's maps.
            data_sample: Prediction, ground truth, both or neither.
            draw_gt: Whether to draw the ground truth.
            draw_pred: Whether to draw the prediction.
            show: Whether to show the picture in a window.
            wait_time: Seconds that the window stays; 0 waits for a key.
            out_file: File for the picture, which then goes to no backend.
            step: Step of the training, which backends file the picture under.
            with_labels: Whether MMSegmentation's own pictures have the names of the classes in them.

        Raises:
            ValueError: If image and maps have different sizes, or the sample has a class that ``dataset_meta`` has not.
        """
        image = np.ascontiguousarray(image)  # OpenCV 5 does not draw on the views that a tensor's permute() makes
        sample = SegDataSample() if data_sample is None else data_sample
        maps = [*(_GROUND_TRUTH if draw_gt else ()), *(_PREDICTION if draw_pred else ())]
        meta = self.dataset_meta or {}
        classes = meta.get('classes') or ()
        palette = meta.get('palette') or voc_palette(len(classes))
        if draw_pred and 'localization' in sample:
            picture = prediction_panel(image, sample, classes, palette, draw_gt)
        elif any(key in sample for key in maps):
            super().add_datasample(
                name, image, data_sample, draw_gt, draw_pred, show, wait_time, out_file, step, with_labels
            )
            return
        else:
            picture = _with_labels(image, sample, classes, palette)

        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(picture), out_file)
        else:
            self.add_image(name, picture, step)

    @master_only
    def add_image(self, name: str, image: ByteImage, step: int = 0) -> None:
        """Hand a picture to all backends, and look at the files of those that write one.

        Args:
            name: Name of the picture.
            image: RGB image (H, W, 3), uint8.
            step: Step of the training.
        """
        super().add_image(name, image, step)
        for backend in self._vis_backends.values():
            if self._warned or not isinstance(backend, LocalVisBackend):
                continue
            path = os.path.join(backend._img_save_dir, f'{name}_{step}.png')
            if not os.path.isfile(path) or sample_problem(path, min_side=1) is not None:
                self._warned = True
                print_log(
                    f'{path}: the picture could not be written, perhaps because the disk is full. The training goes '
                    'on; this is not said of the pictures after it',
                    'current',
                    logging.WARNING,
                )


def _with_labels(image: ByteImage, sample: SegDataSample, classes: Any, palette: Any) -> ByteImage:
    """The image in its own size with its image-level labels as a legend; the bare image where it has none."""
    if 'image_labels' not in sample:
        return image
    present = np.flatnonzero(np.asarray(sample.image_labels.multi_hot)) + 1
    legend = [(classes[index], palette[index]) for index in present]
    return panel([[image]], legend=legend, tile_size=max(image.shape[:2]))
