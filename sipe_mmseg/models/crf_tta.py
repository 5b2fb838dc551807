"""Multi-scale prediction of a segmentation network, refined by a dense CRF."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors.seg_tta import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from ..datasets.image_files import read_rgb
from ..refinement import dense_crf_probabilities


@MODELS.register_module()
class CRFSegTTAModel(SegTTAModel):
    """mmseg's ``SegTTAModel`` (mean of the softmax over scales and mirrors), then a dense CRF on the image.

    Needs the extra ``crf``. For any segmentor of mmseg with more than one class channel.

    Args:
        crf: Settings of :func:`sipe_mmseg.refinement.dense_crf_probabilities`; by default the published ones.
        **kwargs: As in ``SegTTAModel``.
    """

    def __init__(self, crf: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crf = dict(crf or {})

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Merge each image's predictions into one sample with ``pred_sem_seg`` (1, H, W)."""
        merged: list[SegDataSample] = super().merge_preds(data_samples_list)
        for sample, parts in zip(merged, data_samples_list, strict=True):
            probabilities = torch.stack([part.seg_logits.data.softmax(dim=0) for part in parts]).mean(dim=0)
            image = read_rgb(sample.metainfo['img_path'])
            refined = dense_crf_probabilities(image, probabilities.cpu().numpy(), **self.crf).argmax(axis=0)
            labels = torch.from_numpy(refined).to(probabilities.device)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return merged
