"""The loss that learns from image-level labels."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MultiLabelSoftMarginLoss(nn.Module):
    """PyTorch's multi-label soft margin loss on image scores (SIPE, section 3.1).

    Args:
        loss_weight: Factor of the loss; 1 in the paper.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of scores (N, K) against image-level labels (N, K) of 0 and 1."""
        return self.loss_weight * F.multilabel_soft_margin_loss(scores, labels)
