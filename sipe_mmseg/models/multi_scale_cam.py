"""Multi-scale and mirrored fusion as test-time augmentation."""

import math
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .sipe_segmentor import ScaleMaps, given_labels, unpadded_sizes


@MODELS.register_module()
class MultiScaleCAM(BaseTTAModel):
    """Published inference of SIPE: each scale fuses image and mirror *before* normalising, then the IS-CAMs are summed.

    This is not the averaging of finished predictions that mmseg's ``SegTTAModel`` does. The pipeline brings the scales;
    the mirror is made here, so the pipeline has no flip. Scores, seeds and the labels of an image that has none come
    from the scale nearest to 1.

    Args:
        module: The :class:`~sipe_mmseg.models.sipe_segmentor.SIPESegmentor` or its config.
        mirror: Whether to fuse each image with its mirror.
        data_preprocessor: Handed on to the module, as in MMEngine.
    """

    def __init__(self, module: Any, mirror: bool = True, data_preprocessor: dict[str, Any] | None = None) -> None:
        super().__init__(module=module, data_preprocessor=data_preprocessor)
        self.mirror = mirror

    def test_step(self, data: dict[str, list[Any]]) -> list[SegDataSample]:
        """Predict a batch that ``TestTimeAug`` laid out as one list of images a scale.

        Raises:
            ValueError: If an image of the pipeline comes flipped.
        """
        batches = []
        for inputs, samples in zip(data['inputs'], data['data_samples'], strict=True):
            if any(sample.metainfo.get('flip') for sample in samples):
                raise ValueError(
                    'tta_pipeline flips images: take the flip out, MultiScaleCAM(mirror=True) makes the mirror itself'
                )
            batch = self.module.data_preprocessor(dict(inputs=inputs, data_samples=samples), False)
            batches.append((batch['inputs'], batch['data_samples']))
        batches.sort(key=lambda batch: _distance_from_scale_1(*batch))
        labels: Sequence[Tensor | None] = given_labels(batches[0][1])
        scales: list[list[ScaleMaps]] = []
        for inputs, samples in batches:
            scales.append(self.module.localize(inputs, labels, self.mirror, unpadded_sizes(inputs, samples)))
            labels = [maps.labels for maps in scales[0]]
        return [self.module.pack(sample, maps) for sample, *maps in zip(batches[0][1], *scales, strict=True)]

    def merge_preds(self, data_samples_list: Any) -> Any:
        """Not used: maps of several scales are fused before they are predictions."""
        raise TypeError('MultiScaleCAM fuses maps in test_step; there are no finished predictions to merge')


def _distance_from_scale_1(inputs: Tensor, samples: Sequence[SegDataSample]) -> float:
    width = unpadded_sizes(inputs, samples)[0][1]
    return abs(math.log(width / samples[0].metainfo['ori_shape'][1]))
