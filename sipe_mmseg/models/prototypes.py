"""The mathematics of SIPE as pure functions on tensors, in the order in which the paper tells it.

Notation: ``N`` images, ``K`` foreground classes, ``C = K + 1`` channels with the background at index 0, an ``h x w``
grid of cells (stride 16 in the paper). Nothing here knows about registries, configs or data samples.

Source: Chen, Yang, Lai, Xie, "Self-supervised Image-specific Prototype Exploration for Weakly Supervised Semantic
Segmentation", CVPR 2022, sections 3.1 to 3.3. Where the published code differs from the paper, the default is
the code's.

Whatever squares or sums features does so in float32 at least, whose range such sums need: features in half precision
come back as float32. The scale of features does not matter up to 1e15; from 1e18 on their squares leave float32, and
they count as dead.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5
"""The published code's guard of every division by a maximum or a norm."""

COSINE_EPS = 1e-8
"""PyTorch's default guard of a cosine similarity, in which IS-CAM is computed."""

TILE_CELLS = {'cpu': 256, 'cuda': 4096}
"""Side of the tiles in which similarities of all cells with all cells are made, by device: 256 KiB in float32, which a
processor's cache holds, or 64 MiB."""


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision becomes float32; the rest is left alone."""
    return values if values.dtype == torch.float64 else values.float()


def normalize_by_max(maps: Tensor, eps: float = EPS) -> Tensor:
    """Divide every map by its largest value plus ``eps``.

    Args:
        maps: Non-negative maps (..., h, w).
        eps: Guard against empty maps.

    Returns:
        Maps in [0, 1), same shape. The gradient passes through the maximum.
    """
    return maps / (maps.flatten(-2).max(dim=-1).values[..., None, None] + eps)


def class_activation_maps(logits: Tensor, eps: float = EPS) -> Tensor:
    """General CAM with its background channel, ``concat(M_b, M_f)`` (SIPE, section 3.1).

    ``M_f = relu(logits) / (max over pixels + eps)``; ``M_b = 1 - max over classes of M_f``. The maximum of ``M_b`` runs
    over all K classes, absent ones too.

    Args:
        logits: Classifier's maps (N, K, h, w).
        eps: Guard of the division by the maximum.

    Returns:
        (N, K + 1, h, w) in [0, 1], background first, not yet masked by :func:`validity_maps`.
    """
    foreground = normalize_by_max(logits.relu(), eps)
    background = 1 - foreground.max(dim=1, keepdim=True).values
    return torch.cat([background, foreground], dim=1)


def validity_maps(labels: Tensor, boxes: Tensor, crop_size: Sequence[int], grid_size: Sequence[int]) -> Tensor:
    """Where which class may be: 1 inside the image, and for the foreground only where the class is present.

    A grid cell is valid when the pixel that ``F.interpolate(mode='nearest')`` takes for it lies inside the image
    (with stride 16: cell (r, c) looks at pixel (16 r, 16 c), not at its centre), as in the published code.

    Args:
        labels: Image-level labels (N, K), 1 for present, 0 for absent.
        boxes: (N, 4) [top, bottom, left, right] of the image inside the crop, in pixels, end exclusive.
        crop_size: (H, W) of the crop in pixels.
        grid_size: (h, w) of the maps.

    Returns:
        (N, K + 1, h, w), 0 or 1, of the labels' dtype.
    """
    inside = []
    for axis, (pixels, cells) in enumerate(zip(crop_size, grid_size, strict=True)):
        position = torch.arange(pixels, device=labels.device, dtype=torch.float32)
        position = F.interpolate(position[None, None], size=cells, mode='nearest')[0]
        start, end = boxes[:, 2 * axis, None], boxes[:, 2 * axis + 1, None]
        inside.append((position >= start) & (position < end))
    image = (inside[0][:, :, None] & inside[1][:, None, :]).to(labels.dtype)
    present = torch.cat([torch.ones_like(labels[:, :1]), labels], dim=1)
    return present[:, :, None, None] * image[:, None]


def norm_over_channels(features: Tensor, dim: int = 1) -> Tensor:
    """L2 norm along ``dim``, which is kept; its gradient is 0 where the norm is.

    The root of a sum of squares: a third to a tenth of the time of ``torch.linalg.vector_norm`` along a dimension that
    is not the last.
    """
    squared = at_least_float32(features).square().sum(dim=dim, keepdim=True)
    return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()


@torch.no_grad()
def soft_iou(features: Tensor, maps: Tensor, eps: float = EPS, tile: int | None = None) -> Tensor:
    """Soft IoU of every pixel's structure map with every class map (SIPE, section 3.2).

    The structure map of pixel i is ``S_i(j) = relu(cos(f_i, f_j))``; padding is part of the sums. With the IoU written
    as two matrix products, the published tensor of (N, K + 1, hw, hw) never exists; as S is symmetric, only tiles on
    and above its diagonal are made. One image at a time: what it gets does not depend on the others. No gradient
    passes through it.

    Args:
        features: (N, D, h, w).
        maps: Class maps (N, C, h, w) in [0, 1].
        eps: Guard of the division by the features' norm.
        tile: Side of the tiles of S in memory, in cells. None takes :data:`TILE_CELLS` of the device.

    Returns:
        (N, C, h, w); 0 where a dead feature meets an empty map (0 / 0).
    """
    features, maps = at_least_float32(features), at_least_float32(maps)
    tile = tile or TILE_CELLS.get(features.device.type, TILE_CELLS['cuda'])
    similarity = torch.empty_like(maps, memory_format=torch.contiguous_format)
    for image, image_maps, found in zip(features.flatten(2), maps.flatten(2), similarity.flatten(2), strict=True):
        unit = image / (norm_over_channels(image, dim=0) + eps)
        weights = torch.cat([image_maps, torch.ones_like(image_maps[:1])])  # the last row gives the structure's area
        sums = torch.zeros_like(weights)
        tiles = list(zip(unit.split(tile, dim=1), weights.split(tile, dim=1), sums.split(tile, dim=1), strict=True))
        for index, (left, left_weights, left_sums) in enumerate(tiles):
            for right, right_weights, right_sums in tiles[index:]:
                structure = (left.T @ right).relu_()
                right_sums += left_weights @ structure
                if right_sums is not left_sums:
                    left_sums += right_weights @ structure.T
        intersection = sums[:-1]
        union = sums[-1:] + image_maps.sum(dim=1, keepdim=True) - intersection
        torch.where(union > 0, intersection / union, torch.zeros_like(union), out=found)
    return similarity


def structure_aware_seeds(
    features: Tensor,
    maps: Tensor,
    valid: Tensor,
    alpha: float = 0.5,
    alpha_on: Literal['similarity', 'map'] = 'similarity',
    eps: float = EPS,
) -> Tensor:
    """Assign every pixel to the class whose map its structure map fits best (SIPE, section 3.2).

    No gradient passes through the seeds.

    Args:
        features: What the structure is seen in (N, D, h, w): the last stage's map in training, the hierarchical
            feature in inference.
        maps: General CAM with background (N, K + 1, h, w).
        valid: (N, K + 1, h, w) or broadcastable to it; a pixel won by an invalid class is nobody's seed.
        alpha: Weight that holds the background back.
        alpha_on: ``'similarity'`` weighs the background's IoU (the published code), ``'map'`` its map before the IoU
            (the paper).
        eps: Guard of the division by the features' norm.

    Returns:
        (N, K + 1, h, w), 1 where the pixel is a seed of the class, else 0.

    Raises:
        ValueError: If ``alpha_on`` is neither of the two.
    """
    if alpha_on not in ('similarity', 'map'):
        raise ValueError(f"alpha_on={alpha_on!r}: use 'similarity' (published code) or 'map' (paper)")
    with torch.no_grad():
        weight = maps.new_ones(1, maps.shape[1], 1, 1)
        weight[:, 0] = alpha
        if alpha_on == 'similarity':
            similarity = soft_iou(features, maps, eps) * weight
        else:
            similarity = soft_iou(features, maps * weight, eps)
        winner = similarity.argmax(dim=1, keepdim=True)
        return torch.zeros_like(similarity).scatter_(1, winner, 1.0) * valid


def hierarchical_feature(
    maps: Sequence['Tensor | ReadMap'],
    projections: Sequence[Callable[[Tensor], Tensor]],
    size: Sequence[int],
    eps: float = EPS,
) -> Tensor:
    """Stack the projected maps of all stages into one feature (SIPE, section 3.3).

    Args:
        maps: The stages' maps (N, D_i, h_i, w_i), or what :func:`read_map` has read of them for this ``size``.
        projections: What projects each of them, cell by cell (a 1x1 convolution), where it is read.
        size: (h, w) of the grid they are brought to (bilinear).
        eps: Guard of the division of every projected map by its L2 norm over channels.

    Returns:
        (N, sum of the projections' channels, h, w), float32 or as the projections if these are float64.
    """
    resized = []
    for single, project in zip(reversed(maps), reversed(projections), strict=True):  # what takes most memory first
        cells, taps = single if isinstance(single, ReadMap) else read_map(single, size)
        projection = at_least_float32(project(cells))
        unit = projection / (norm_over_channels(projection) + eps)
        resized.append(resize_bilinear(unit, size) if taps is None else taps.add(unit))
    return torch.cat(resized[::-1], dim=1)


class ShrinkingTaps(NamedTuple):
    """The cells that a bilinear resize to ``h x w`` reads: two rows for each new one, and two columns."""

    rows: Tensor
    """Indices (2h,)."""
    columns: Tensor
    """Indices (2w,)."""
    weights: Tensor
    """Share of each cell in its new one (2h, 2w); each 2 x 2 of them have the sum 1."""

    def read(self, maps: Tensor) -> Tensor:
        """(N, D, H, W) -> (N, D, 2h, 2w)."""
        return maps[..., self.rows[:, None], self.columns]

    def add(self, cells: Tensor) -> Tensor:
        """(N, D, 2h, 2w) -> (N, D, h, w): what the resize makes of these cells."""
        weighted = cells * self.weights.to(cells.dtype)
        blocks: Tensor = weighted.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
        return blocks.sum(dim=(-3, -1))  # unlike a pool, keeps no input


class ReadMap(NamedTuple):
    """What a bilinear resize reads of a map."""

    cells: Tensor
    """The whole map, or only its cells that are read, as :meth:`ShrinkingTaps.read` gives them."""
    taps: ShrinkingTaps | None
    """Which these are; None for the whole map."""


def read_map(maps: Tensor, size: Sequence[int]) -> ReadMap:
    """Take from (N, D, H, W) maps what a resize to (h, w) reads: a copy of a part if they shrink by more than 2."""
    taps = shrinking_taps(maps.shape[-2:], size, maps.device)
    return ReadMap(maps if taps is None else taps.read(maps), taps)


def shrinking_taps(before: Sequence[int], after: Sequence[int], device: torch.device) -> ShrinkingTaps | None:
    """Taps of a bilinear resize (``align_corners=False``); None where it shrinks by 2 or less."""
    if 4 * after[0] * after[1] >= before[0] * before[1]:
        return None
    indices, weights = [], []
    for old, new in zip(before, after, strict=True):
        position = (torch.arange(new, dtype=torch.float64, device=device) + 0.5) * (old / new) - 0.5
        position = position.clamp(min=0)
        lower = position.long()
        share = position - lower
        indices.append(torch.stack([lower, (lower + 1).clamp(max=old - 1)], dim=1).flatten())
        weights.append(torch.stack([1 - share, share], dim=1).flatten())
    return ShrinkingTaps(indices[0], indices[1], weights[0][:, None] * weights[1])


def resize_bilinear(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bring (N, D, h, w) maps to another size, bilinear with ``align_corners=False``; untouched if it fits already."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)


def image_specific_prototypes(features: Tensor, seeds: Tensor) -> Tensor:
    """Average the hierarchical feature over the seeds of each class (SIPE, section 3.3).

    Divided by all ``h * w`` pixels as in the published code, not by the number of seeds: the cosine of
    :func:`image_specific_cams` does not notice.

    Args:
        features: Hierarchical feature (N, D, h, w).
        seeds: (N, C, h, w).

    Returns:
        (N, C, D); a class without seeds has a zero prototype.
    """
    features, seeds = at_least_float32(features.flatten(2)), at_least_float32(seeds.flatten(2))
    return torch.bmm(seeds, features.transpose(1, 2)) / features.shape[2]


def image_specific_cams(features: Tensor, prototypes: Tensor, eps: float = COSINE_EPS) -> Tensor:
    """IS-CAM: ``relu(cos(F_h(i), P_k))`` for every pixel and class (SIPE, section 3.3).

    Args:
        features: Hierarchical feature (N, D, h, w).
        prototypes: (N, C, D).
        eps: Smallest norm that is divided by.

    Returns:
        (N, C, h, w) in [0, 1]; a zero prototype gives a zero map.
    """
    size, features = features.shape[-2:], at_least_float32(features.flatten(2))
    projected = torch.bmm(F.normalize(at_least_float32(prototypes), dim=2, eps=eps), features)
    maps: Tensor = (projected / norm_over_channels(features).clamp_min(eps)).relu().unflatten(2, size)
    return maps
