"""Normalisation on the device, and the zero canvas around pasted images."""

from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS


@MODELS.register_module()
class ImageLevelDataPreProcessor(SegDataPreProcessor):
    """mmseg's preprocessor, and outside an image's ``valid_box`` everything is 0 *after* normalising.

    That is how the published loader leaves the canvas around an image smaller than the crop; a pipeline that moves
    uint8 images cannot express it, as no integer is the normalised 0. A training sample without a box gets that of its
    whole image. The arguments are those of ``SegDataPreProcessor``.

    Raises:
        ValueError: If a cropped or pasted image has not the size that the batch is given, which would pad it unnoticed.
    """

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalise and stack a batch; see ``SegDataPreProcessor.forward``."""
        sizes = [tuple(image.shape[-2:]) for image in data['inputs']]
        if training and self.size is not None:
            for size, sample in zip(sizes, data['data_samples'], strict=True):
                if 'valid_box' in sample and size != tuple(self.size):
                    raise ValueError(
                        f'RandomCropOrPaste made crops of {size}, but data_preprocessor.size is {tuple(self.size)}: '
                        'give both the same size'
                    )
        data = super().forward(data, training)
        if not training:
            return data
        inputs, samples = data['inputs'], data['data_samples']
        for sample, (height, width) in zip(samples, sizes, strict=True):
            if 'valid_box' not in sample:
                sample.set_data(dict(valid_box=torch.tensor([0, height, 0, width], device=inputs.device)))
        top, bottom, left, right = torch.stack([sample.valid_box for sample in samples]).T[:, :, None]
        rows = torch.arange(inputs.shape[-2], device=inputs.device)
        columns = torch.arange(inputs.shape[-1], device=inputs.device)
        inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
        data['inputs'] = inputs.masked_fill_(~inside[:, None], 0)
        return data
