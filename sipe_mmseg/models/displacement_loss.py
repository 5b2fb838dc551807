"""Displacements to the centre of the object that a pixel is part of (IRN, section 3.2)."""

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..refinement.pixel_pairs import half_disc
from .affinity_loss import mean_over_processes
from .training_pairs import EPS, at_training_pairs, check_pairs, pair_kinds


class DisplacementTerms(NamedTuple):
    """The loss's two halves, scalars."""

    foreground: Tensor
    """Mean distance, over pairs of one object class, to what their place in the image asks for."""
    background: Tensor
    """Mean difference over background pairs."""


def displacement_loss(
    displacement: Tensor, labels: Tensor, num_classes: int, radius: int = 10, eps: float = EPS
) -> DisplacementTerms:
    """How far near pixels of one class are from pointing at the same place.

    Two pixels p and p + d of one foreground class that point at the same centre differ by d:
    ``|D(p) - D(p + d) - d|``. Background has no centre and is to be even: ``|D(p) - D(p + d)|``. Both are means over
    the pairs of the whole batch (and of all processes) and over the two components.

    Args:
        displacement: Displacement maps (N, 2, h, w) as (dy, dx) in cells of the grid.
        labels: Class indices (N, h, w); what is not below ``num_classes`` is unknown and takes part in nothing.
        num_classes: Classes with background.
        radius: Neighbours are nearer than this, in cells of the grid.
        eps: Added to the counts of pairs.

    Returns:
        The two terms.

    Raises:
        ValueError: If maps and labels are not on the same grid, or the grid is too small for the radius.
    """
    check_pairs(displacement, labels)
    sums, counts = displacement.new_zeros(2), displacement.new_zeros(2)
    first, offsets = at_training_pairs(displacement, radius), half_disc(radius)
    for offset, vector in zip(offsets, displacement.new_tensor(offsets), strict=True):
        kinds = pair_kinds(labels, offset, radius, num_classes)
        wanted = vector[:, None, None] * kinds.foreground[:, None]
        distances = (first - at_training_pairs(displacement, radius, offset) - wanted).abs().sum(dim=1)
        same = (kinds.foreground, kinds.background)
        sums = sums + torch.stack([(distances * kind).sum() for kind in same])
        counts += torch.stack([kind.sum() for kind in same])
    return DisplacementTerms(*(sums / (2 * mean_over_processes(counts) + eps)))


@MODELS.register_module()
class DisplacementLoss(nn.Module):
    """:func:`displacement_loss` with its settings.

    Args:
        radius: Neighbours are nearer than this, in cells of the grid.
        loss_weight: Factor of both terms; 1/2 in the published loss.
        eps: Added to the counts of pairs.
    """

    def __init__(self, radius: int = 10, loss_weight: float = 0.5, eps: float = EPS) -> None:
        super().__init__()
        half_disc(radius)  # refuses a radius without neighbours
        self.radius = radius
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, displacement: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
        """``loss_disp_fg`` and ``loss_disp_bg``, weighted; see :func:`displacement_loss`."""
        terms = displacement_loss(displacement, labels, num_classes, self.radius, self.eps)
        return dict(loss_disp_fg=self.loss_weight * terms.foreground, loss_disp_bg=self.loss_weight * terms.background)
