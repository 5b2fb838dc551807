"""Boundaries learnt from the affinity of near pixels (IRN, section 3.3)."""

from typing import NamedTuple

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..refinement.pixel_pairs import half_disc, path
from .training_pairs import EPS, at_training_pairs, check_pairs, pair_kinds


class AffinityTerms(NamedTuple):
    """The loss's two halves, scalars."""

    positive: Tensor
    """Mean over pairs with equal labels; background pairs and foreground pairs weigh one half each."""
    negative: Tensor
    """Mean over pairs with different labels."""


def affinity_loss(
    boundary_logits: Tensor, labels: Tensor, num_classes: int, radius: int = 10, eps: float = EPS
) -> AffinityTerms:
    """Negative log likelihood of what the labels say about pairs of near pixels.

    The affinity of two pixels is 1 - the largest boundary on the path between them. Pairs with equal labels cost
    ``-log(affinity + eps)``, with different ones ``-log(1 - affinity + eps)``; each kind of pairs is averaged over the
    whole batch, and over all processes where there are several. Kept for the backward are about 25 bytes a pair (152
    pairs a pixel at radius 10), not the values along the paths.

    Args:
        boundary_logits: Boundary map before the sigmoid (N, 1, h, w).
        labels: Class indices (N, h, w); what is not below ``num_classes`` is unknown and takes part in nothing.
        num_classes: Classes with background.
        radius: Neighbours are nearer than this, in cells of the grid.
        eps: Guard of the logarithms, also added to the counts of pairs.

    Returns:
        The two terms.

    Raises:
        ValueError: If maps and labels are not on the same grid, or the grid is too small for the radius.
    """
    check_pairs(boundary_logits, labels)
    logits = boundary_logits[:, 0]
    sums, counts = logits.new_zeros(3), logits.new_zeros(3)
    for displacement in half_disc(radius):
        kinds = pair_kinds(labels, displacement, radius, num_classes)
        # The sigmoid grows with the logit: the largest boundary is that of the largest logit.
        points = [at_training_pairs(logits, radius, point) for point in path(displacement)]
        largest = torch.stack(points).max(dim=0).values
        # 1 - sigmoid(z) = sigmoid(-z): the affinity, or what is left of 1, without cancellation.
        costs = -torch.log(torch.sigmoid(torch.where(kinds.different, largest, -largest)) + eps)
        sums = sums + torch.stack([(costs * kind).sum() for kind in kinds])
        counts += torch.stack([kind.sum() for kind in kinds])
    background, foreground, different = sums / (mean_over_processes(counts) + eps)
    return AffinityTerms((background + foreground) / 2, different)


def mean_over_processes(counts: Tensor) -> Tensor:
    """Counts of this process's pairs -> mean over processes; with it, the processes' mean loss is that of all pairs."""
    counts = counts.clone()
    all_reduce(counts, op='mean')
    return counts


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """:func:`affinity_loss` with its settings.

    Args:
        radius: Neighbours are nearer than this, in cells of the grid.
        loss_weight: Factor of both terms; 1/2 in the published loss.
        eps: Guard of the logarithms, also added to the counts of pairs.
    """

    def __init__(self, radius: int = 10, loss_weight: float = 0.5, eps: float = EPS) -> None:
        super().__init__()
        half_disc(radius)  # refuses a radius without neighbours
        self.radius = radius
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, boundary_logits: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
        """``loss_pos`` and ``loss_neg``, weighted; see :func:`affinity_loss`."""
        terms = affinity_loss(boundary_logits, labels, num_classes, self.radius, self.eps)
        return dict(loss_pos=self.loss_weight * terms.positive, loss_neg=self.loss_weight * terms.negative)
