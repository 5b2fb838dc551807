"""The head of DeepLabV2, which mmseg does not have."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid pooling of DeepLabV2: the sum of dilated 3 x 3 classifiers (Chen et al., TPAMI 2018).

    ``loss`` and ``predict`` are those of every decode head of mmseg.

    Args:
        in_channels: Channels of the map that is classified.
        dilations: Dilation of each classifier; (6, 12, 18, 24) are the published ones ("ASPP-L").
        dropout_ratio: Dropout on the map; the published network has none here.
        init_cfg: As in MMEngine; the published start is Normal(0, 0.01).
        **kwargs: As in mmseg's ``BaseDecodeHead``; ``channels`` means nothing here.

    Raises:
        ValueError: If there are no dilations.
    """

    def __init__(
        self,
        in_channels: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        dropout_ratio: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not dilations:
            raise ValueError('dilations: the head needs at least one, such as (6, 12, 18, 24)')
        kwargs['channels'] = in_channels
        super().__init__(
            in_channels=in_channels,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or dict(type='Normal', std=0.01, override=dict(name='classifiers')),
            **kwargs,
        )
        # The dilated convolutions are the classifier: there is no other after them.
        del self.conv_seg
        self.classifiers = nn.ModuleList(
            nn.Conv2d(in_channels, self.out_channels, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes, h, w) of a backbone's maps, at the size of the chosen one."""
        features = self._transform_inputs(inputs)
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.classifiers[0](features)
        for classifier in self.classifiers[1:]:
            logits = logits + classifier(features)
        return logits
