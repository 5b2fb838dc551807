"""General-Specific Consistency: the two maps teach each other (SIPE, section 3.4)."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from .prototypes import EPS, normalize_by_max


def gsc_loss(cam: Tensor, is_cam: Tensor, eps: float = EPS) -> Tensor:
    """Mean absolute difference of the general CAM and the max-normalised IS-CAM.

    The mean runs over images, all ``K + 1`` channels (absent classes are 0 in both and count) and all pixels, padding
    included. Neither side is detached.

    Args:
        cam: General CAM (N, K + 1, h, w), masked by the validity maps.
        is_cam: IS-CAM (N, K + 1, h, w) before its division by the maximum.
        eps: Guard of that division.

    Returns:
        Scalar.
    """
    return (cam - normalize_by_max(is_cam, eps)).abs().mean()


@MODELS.register_module()
class GSCLoss(nn.Module):
    """:func:`gsc_loss` with its settings.

    Args:
        loss_weight: Factor of the loss; 1 in the paper.
        eps: Guard of the division of IS-CAM by its maximum.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = EPS) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, cam: Tensor, is_cam: Tensor) -> Tensor:
        """See :func:`gsc_loss`."""
        return self.loss_weight * gsc_loss(cam, is_cam, self.eps)
