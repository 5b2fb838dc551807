"""SIPE's formulas as they are written, tensor by tensor: a first version, which speed is measured against.

Where :mod:`sipe_reference` has loops, this has the tensors that the formulas name, the (N, C, hw, hw) of the structure
similarity among them. Maps are (N, C, h, w) with the background first, features (N, D, h, w).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5


def general_cam(logits: Tensor, valid: Tensor) -> Tensor:
    """M: (N, K, h, w) logits -> (N, K + 1, h, w)."""
    foreground = F.relu(logits)
    foreground = foreground / (foreground.amax(dim=(2, 3), keepdim=True) + EPS)
    background = 1 - foreground.amax(dim=1, keepdim=True)
    return torch.cat([background, foreground], dim=1) * valid


def seeds(features: Tensor, maps: Tensor, valid: Tensor, alpha: float = 0.5) -> Tensor:
    """R: the structure map of every pixel against every class map, as one tensor (N, C, hw, hw)."""
    with torch.no_grad():
        unit = features.flatten(2)
        unit = unit / (unit.norm(dim=1, keepdim=True) + EPS)
        structure = F.relu(unit.transpose(1, 2) @ unit)[:, None]
        flat = maps.flatten(2)[:, :, None]
        intersection = (structure * flat).sum(dim=-1)
        union = (structure + flat - structure * flat).sum(dim=-1)
        similarity = (intersection / union).view_as(maps)
        similarity[:, 0] *= alpha
        return F.one_hot(similarity.argmax(dim=1), maps.shape[1]).permute(0, 3, 1, 2) * valid


def hierarchical_feature(projections: list[Tensor], size: tuple[int, int]) -> Tensor:
    """F_h from the projections of all maps."""
    unit = [each / (each.norm(dim=1, keepdim=True) + EPS) for each in projections]
    return torch.cat([F.interpolate(each, size=size, mode='bilinear', align_corners=False) for each in unit], dim=1)


def is_cam(features: Tensor, found: Tensor) -> Tensor:
    """IS: the cosine of every pixel with every class's prototype."""
    prototypes = (features[:, None] * found[:, :, None]).mean(dim=(3, 4))
    return F.relu(F.cosine_similarity(features[:, None], prototypes[..., None, None], dim=2))


def gsc_loss(cam: Tensor, found: Tensor) -> Tensor:
    """mean |M - IS_n|."""
    return (cam - found / (found.amax(dim=(2, 3), keepdim=True) + EPS)).abs().mean()
