"""SIPE a second time: slow and obvious, one loop for every sum of the paper.

It shares no line with the package. Everything is a plain transcription of the paper's formulas (with the published
code's choices), and autograd passes through it, so that gradients can be compared too. Maps are (C, h, w) of one image,
features (D, h, w), background first; functions with an ``images`` in their name take a list of images.
"""

import math

import torch
from torch import Tensor

EPS = 1e-5
ALPHA = 0.5


def divided_by_max(single: Tensor) -> Tensor:
    """One map (h, w) over its largest value."""
    return single / (max(value for row in single for value in row) + EPS)


def general_cam(logits: Tensor) -> Tensor:
    """M without V: (K, h, w) logits -> (K + 1, h, w)."""
    foreground = [divided_by_max(logits[k].clamp(min=0)) for k in range(len(logits))]
    background = torch.ones_like(logits[0])
    height, width = logits.shape[1:]
    for r in range(height):
        for c in range(width):
            background[r, c] = 1 - max(single[r, c] for single in foreground)
    return torch.stack([background, *foreground])


def validity(labels: list[int], box: list[int], crop_size: tuple[int, int], grid_size: tuple[int, int]) -> Tensor:
    """V of one image: cell (r, c) looks at the pixel at its upper left corner."""
    top, bottom, left, right = box
    result = torch.zeros(len(labels) + 1, *grid_size)
    for r in range(grid_size[0]):
        for c in range(grid_size[1]):
            y, x = r * crop_size[0] // grid_size[0], c * crop_size[1] // grid_size[1]
            inside = top <= y < bottom and left <= x < right
            for k, present in enumerate([1, *labels]):
                result[k, r, c] = float(inside and present)
    return result


def cosine(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """Of two vectors; 0 if one of them is 0."""
    norm_a, norm_b = (torch.linalg.vector_norm(v) for v in (a, b))
    return (a / (norm_a + eps) * (b / (norm_b + eps))).sum()


def structure_map(features: Tensor, i: int) -> list[float]:
    """S_i over all pixels j, row by row."""
    pixels = features.flatten(1).T
    return [max(float(cosine(pixels[i], pixels[j], EPS)), 0.0) for j in range(len(pixels))]


def soft_iou(features: Tensor, maps: Tensor) -> Tensor:
    """C_k(i) for every class and pixel."""
    result = torch.zeros_like(maps)
    height, width = maps.shape[1:]
    for i in range(height * width):
        structure = structure_map(features, i)
        for k in range(len(maps)):
            m = [float(value) for value in maps[k].flatten()]
            intersection = sum(s_j * m_j for s_j, m_j in zip(structure, m, strict=True))
            union = sum(structure) + sum(m) - intersection
            result[k, i // width, i % width] = intersection / union if union > 0 else 0.0
    return result


def seeds(features: Tensor, maps: Tensor, valid: Tensor, alpha: float = ALPHA, alpha_on: str = 'similarity') -> Tensor:
    """R: 1 where class k wins and is valid."""
    with torch.no_grad():
        maps = maps.clone()
        if alpha_on == 'map':
            maps[0] *= alpha
        similarity = soft_iou(features, maps)
        if alpha_on == 'similarity':
            similarity[0] *= alpha
        result = torch.zeros_like(maps)
        for r in range(maps.shape[1]):
            for c in range(maps.shape[2]):
                column = [float(value) for value in similarity[:, r, c]]
                winner = column.index(max(column))
                result[winner, r, c] = valid[winner, r, c]
        return result


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (C, h, w): the centre of every new pixel lies between at most four old centres (align_corners=False)."""
    height, width = maps.shape[1:]
    rows = []
    for r in range(size[0]):
        row = []
        for c in range(size[1]):
            y = min(max((r + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((c + 0.5) * width / size[1] - 0.5, 0), width - 1)
            y0, x0 = math.floor(y), math.floor(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = y - y0, x - x0
            upper = (1 - dx) * maps[:, y0, x0] + dx * maps[:, y0, x1]
            lower = (1 - dx) * maps[:, y1, x0] + dx * maps[:, y1, x1]
            row.append((1 - dy) * upper + dy * lower)
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


def project(features: Tensor, weight: Tensor) -> Tensor:
    """1x1 convolution without bias: weight (D_out, D_in)."""
    return torch.stack([sum(w * plane for w, plane in zip(row, features, strict=True)) for row in weight])


def hierarchical_feature(projections: list[Tensor], size: tuple[int, int]) -> Tensor:
    """F_h from the projections of one image's maps."""
    parts = []
    for projection in projections:
        unit = torch.zeros_like(projection)
        for r in range(projection.shape[1]):
            for c in range(projection.shape[2]):
                unit[:, r, c] = projection[:, r, c] / (torch.linalg.vector_norm(projection[:, r, c]) + EPS)
        parts.append(bilinear(unit, size))
    return torch.cat(parts)


def prototypes(features: Tensor, seeds: Tensor) -> Tensor:
    """P_k: the sum of F_h over the seeds of class k, over all pixels as in the published code."""
    height, width = seeds.shape[1:]
    result = []
    for k in range(len(seeds)):
        total = torch.zeros_like(features[:, 0, 0])
        for r in range(height):
            for c in range(width):
                total = total + seeds[k, r, c] * features[:, r, c]
        result.append(total / (height * width))
    return torch.stack(result)


def is_cam(features: Tensor, prototypes: Tensor) -> Tensor:
    """IS_k(i) = relu(cos(F_h(i), P_k)); 0 for a zero prototype."""
    height, width = features.shape[1:]
    result = features.new_zeros(len(prototypes), height, width)
    for k, prototype in enumerate(prototypes):
        if not prototype.any():
            continue
        for r in range(height):
            for c in range(width):
                result[k, r, c] = cosine(features[:, r, c], prototype, 1e-12).clamp(min=0)
    return result


def gsc_loss_of_images(cams: list[Tensor], is_cams: list[Tensor]) -> Tensor:
    """mean |M - IS_n| over images, channels and pixels."""
    differences = []
    for cam, found in zip(cams, is_cams, strict=True):
        for k in range(len(cam)):
            normalized = divided_by_max(found[k])
            for r in range(cam.shape[1]):
                for c in range(cam.shape[2]):
                    differences.append((cam[k, r, c] - normalized[r, c]).abs())
    return sum(differences) / len(differences)


def classification_loss_of_images(scores: list[Tensor], labels: list[list[int]]) -> Tensor:
    """Multi-label soft margin loss: the mean binary cross entropy of the sigmoids, over classes and images."""
    terms = []
    for score, label in zip(scores, labels, strict=True):
        for value, present in zip(score, label, strict=True):
            probability = 1 / (1 + torch.exp(-value))
            terms.append(-torch.log(probability if present else 1 - probability))
    return sum(terms) / len(terms)


def training_maps(
    logits: Tensor,
    deepest: Tensor,
    hierarchical: Tensor,
    valid: Tensor,
    alpha: float = ALPHA,
    alpha_on: str = 'similarity',
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(M, R, P, IS) of one image on the training path."""
    cam = general_cam(logits) * valid
    found = seeds(deepest, cam, valid, alpha, alpha_on)
    prototype = prototypes(hierarchical, found)
    return cam, found, prototype, is_cam(hierarchical, prototype)


def inference_maps(
    logits: Tensor, hierarchical: Tensor, labels: list[int], alpha: float = ALPHA, alpha_on: str = 'similarity'
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(M, R, P, IS) of one image, or of the sum of an image and its mirror, on the inference path."""
    cam = general_cam(logits)
    valid = torch.ones_like(cam)
    for k, present in enumerate(labels):
        valid[k + 1] *= present
    found = seeds(hierarchical, cam, valid, alpha, alpha_on)
    prototype = prototypes(hierarchical, found)
    return cam, found, prototype, is_cam(hierarchical, prototype)


def fused_scales(maps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Sum of every scale's maps at the image's size, each class over its maximum."""
    resized = [bilinear(single, size) for single in maps]
    return torch.stack([divided_by_max(sum(scale[k] for scale in resized)) for k in range(len(maps[0]))])
