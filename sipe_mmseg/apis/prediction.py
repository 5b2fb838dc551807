"""What prediction gives: one image's maps as arrays, and those of all images with what failed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mmseg.structures import SegDataSample

from ..models.sipe_head import SCORE_THRESHOLD


@dataclass(frozen=True, repr=False)
class Prediction:
    """Scores and maps of one image of (H, W) pixels, turned as its EXIF orientation says.

    n of the K foreground classes are present: those of the image-level labels, if any were given, else those the
    classifier itself is sure of.

    Attributes:
        source: Path or URL of the image, or ``inputs[<place>]`` for an array.
        classes: Names of all K + 1 classes, background first. The values of ``label_map`` and ``seeds`` are places in
            it.
        scores: The classifier's probabilities (K,), float32, of ``classes[1:]``.
        present: Class indices (n,), 1 to K, ascending.
        labels_given: Whether they are image-level labels that were given.
        cam: General CAM (n, H, W), float32 in [0, 1]; its channels are the classes ``cam_channels``.
        is_cam: IS-CAM (n + 1, H, W), float32 in [0, 1], background first; channels ``is_cam_channels``.
        seeds: Class index of each pixel's structure-aware seed (H, W), uint8; 255 where there is none.
        label_map: Class index of each pixel (H, W), uint8: argmax of IS-CAM.
        score_threshold: Probability above which the classifier is sure of a class.
    """

    source: str
    classes: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    present: npt.NDArray[np.int64]
    labels_given: bool
    cam: npt.NDArray[np.float32]
    is_cam: npt.NDArray[np.float32]
    seeds: npt.NDArray[np.uint8]
    label_map: npt.NDArray[np.uint8]
    score_threshold: float = SCORE_THRESHOLD

    def __str__(self) -> str:
        present = ', '.join(f'{self.classes[index]} {self.scores[index - 1]:.2f}' for index in self.present)
        if self.labels_given:
            return f'{self.source}: {present or "no object"} (labels given)'
        return f'{self.source}: {present or f"no object ({self._best()})"}'

    def _best(self) -> str:
        """The class with the highest score; it is cut off, not rounded, as it is not above the threshold."""
        best = int(self.scores.argmax())
        score = math.floor(100 * self.scores[best]) / 100
        return f'best: {self.classes[best + 1]} {score:.2f}, not above {self.score_threshold:g}'

    def __repr__(self) -> str:
        height, width = self.label_map.shape
        return f'<Prediction {self}, {height} x {width} pixels>'

    @property
    def cam_channels(self) -> tuple[str, ...]:
        """Name of the class of each channel of ``cam``."""
        return tuple(self.classes[index] for index in self.present)

    @property
    def is_cam_channels(self) -> tuple[str, ...]:
        """Name of the class of each channel of ``is_cam``."""
        return (self.classes[0], *self.cam_channels)


class Predictions(dict[str, Any]):
    """``predictions`` and ``visualization`` as OpenMMLab's inferencers return them, ``failed`` and ``left_out``.

    Both lists have an entry for each image that could be predicted, in the order of the inputs, one image alone
    included.

    Attributes:
        failed: Why an input could not be predicted, by its path, its URL or ``inputs[<place>]``.
        left_out: Files of the folder that are no images by their names, and were not tried.
    """

    def __init__(
        self,
        predictions: Sequence[Any],
        visualization: Sequence[npt.NDArray[np.uint8]],
        failed: dict[str, str],
        left_out: Sequence[str] = (),
    ) -> None:
        super().__init__(predictions=list(predictions), visualization=list(visualization))
        self.failed = failed
        self.left_out = list(left_out)


def to_prediction(
    sample: SegDataSample, source: str, classes: Sequence[str], score_threshold: float = SCORE_THRESHOLD
) -> Prediction:
    """The arrays of a sample that :meth:`sipe_mmseg.models.SIPESegmentor.pack` has filled."""
    maps, present = sample.localization, sample.present
    return Prediction(
        source=source,
        classes=tuple(classes),
        scores=present.scores.float().cpu().numpy(),
        present=present.classes.cpu().numpy(),
        labels_given=bool(present.given),
        cam=maps.cam.float().cpu().numpy(),
        is_cam=maps.is_cam.float().cpu().numpy(),
        seeds=maps.seeds[0].cpu().numpy().astype(np.uint8),
        label_map=sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8),
        score_threshold=score_threshold,
    )
