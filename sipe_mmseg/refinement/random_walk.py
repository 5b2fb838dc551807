"""Random walk over pixels that no boundary parts (IRN: Ahn, Cho, Kwak; CVPR 2019), without a dense matrix.

The published code builds the transition matrix T of all n pixels, n x n numbers, and squares it 8 times. Here

* T is kept as one map of weights for each displacement within the radius, and multiplying by it is shifting, weighing
  and adding: memory and time of order ``n * radius ** 2``;
* no power of T is made: ``x T^s`` is a sum of Chebyshev polynomials of T, of which only the first
  ``sqrt(2 s ln(2 / tolerance))`` or fewer matter: 78 products in place of 256 for the published walk (Sachdeva and
  Vishnoi, "Faster Algorithms via Approximation Theory", 2014, section 3).
"""

import torch
from torch import Tensor

from .pixel_pairs import at_pairs, half_disc, path

LARGEST = 1e30
"""Larger activations are refused: in float32, whose largest number is 3e38, sums over a walk could become infinite."""

Link = tuple[int, Tensor]
"""How far the second pixels of some pairs lie behind the first ones when the map is one row, and the pairs' weights."""


@torch.no_grad()
def random_walk(
    activation: Tensor,
    boundary: Tensor,
    radius: int = 5,
    beta: float = 10.0,
    exp_times: int = 8,
    tolerance: float = 1e-6,
) -> Tensor:
    """Spread activations over the pixels that no boundary parts from them.

    Computes ``x T^(2^exp_times)`` with ``x = activation * (1 - boundary)``. ``T[a, b]`` is ``affinity ** beta`` for
    every pair of pixels of the map within the radius, 1 from a pixel to itself, and every column is divided by its sum.
    The affinity of two pixels is 1 - the largest boundary on the path between them. So every value becomes a weighted
    mean of the values around it.

    All maps of a batch have one size. A smaller one may be padded with boundary 1: nothing passes into or out of such
    pixels, so the rest is as it would be without them.

    Args:
        activation: One map a class, (C, h, w), or (N, C, h, w) for several images.
        boundary: (h, w), or (N, h, w) for several images, in [0, 1]; of the activation's dtype and device.
        radius: Pixels nearer than this are neighbours, in pixels.
        beta: Power of the affinity; the larger, the better a weak boundary holds.
        exp_times: The walk has 2 to the power of this many steps.
        tolerance: Share of the walk that may be left out; 0 leaves out nothing that a double can hold.

    Returns:
        Same shape, dtype and device as ``activation``; no gradient passes.

    Raises:
        TypeError: If the tensors are not both float32 or both float64.
        ValueError: If shapes or devices do not fit, the boundary leaves [0, 1], the activation is not finite or beyond
            :data:`LARGEST`, or a number is out of range.
    """
    _check(activation, boundary, beta, exp_times, tolerance)
    coefficients = chebyshev_coefficients(2**exp_times, tolerance)
    if activation.ndim == 3:
        return _walk(activation[None], boundary[None], radius, beta, coefficients)[0]
    return _walk(activation, boundary, radius, beta, coefficients)


def chebyshev_coefficients(power: int, tolerance: float) -> list[float]:
    """Coefficients of ``x ** power`` in Chebyshev polynomials: ``x ** power = sum over j of c_j T_j(x)``.

    ``c_j = 2 ** (1 - power) * binomial(power, (power - j) / 2)`` where ``power - j`` is even, else 0; half of that for
    j = 0. They are not negative and add up to 1.

    Args:
        power: At least 1.
        tolerance: The last coefficients are left out as long as they do not add up to more than this.

    Returns:
        ``[c_0, c_1, ...]``; those that are left are scaled to add up to 1, so that a constant map stays constant.
    """
    coefficients = []
    binomial = 1.0  # of j, divided by that of the first j: the scale at the end makes up for it
    for j in range(power + 1):
        if j % 2 != power % 2:
            coefficients.append(0.0)
        elif binomial > 0:
            coefficients.append(binomial if j else binomial / 2)
            binomial *= (power - j) / (power + j + 2)
        else:  # too small for a double
            break
    total, left_out = sum(coefficients), 0.0
    while left_out + coefficients[-1] <= tolerance * total:
        left_out += coefficients.pop()
    return [coefficient / (total - left_out) for coefficient in coefficients]


def _check(activation: Tensor, boundary: Tensor, beta: float, exp_times: int, tolerance: float) -> None:
    if activation.dtype not in (torch.float32, torch.float64) or boundary.dtype != activation.dtype:
        raise TypeError(
            f'activation is {activation.dtype} and boundary {boundary.dtype}: both must be float32, or both float64'
        )
    if activation.device != boundary.device:
        raise ValueError(f'activation is on {activation.device}, but boundary on {boundary.device}')
    images_and_sides = (*activation.shape[:-3], *activation.shape[-2:])
    if activation.ndim not in (3, 4) or boundary.shape != images_and_sides or 0 in activation.shape:
        raise ValueError(
            f'activation is {tuple(activation.shape)} and boundary {tuple(boundary.shape)}: they must be (C, h, w) and '
            '(h, w), or (N, C, h, w) and (N, h, w), and not empty'
        )
    low, high = (float(value) for value in torch.aminmax(boundary))
    if not (low >= 0 and high <= 1):
        raise ValueError(f'boundary has values from {low} to {high}: they must be in [0, 1], as after a sigmoid')
    low, high = (float(value) for value in torch.aminmax(activation))
    if not -LARGEST <= low <= high <= LARGEST:
        raise ValueError(
            f'activation has values from {low} to {high}: they must be numbers in [-{LARGEST:g}, {LARGEST:g}], '
            'so that sums of them stay finite'
        )
    if not beta > 0:
        raise ValueError(f'beta must be larger than 0, not {beta}')
    if not isinstance(exp_times, int) or exp_times < 0:
        raise ValueError(f'exp_times must be a whole number of at least 0, not {exp_times}')
    if not 0 <= tolerance < 1:
        raise ValueError(f'tolerance must be at least 0 and less than 1, not {tolerance}')


def _walk(activation: Tensor, boundary: Tensor, radius: int, beta: float, coefficients: list[float]) -> Tensor:
    """The walk of (N, C, h, w) activations, as the polynomial of T that ``coefficients`` give.

    ``T_0(T) = 1``, ``T_1(T) = T``, and ``T_(j+1)(T) = 2 T T_j(T) - T_(j-1)(T)`` is computed as
    ``T_(j+1) - T_j = (T_j - T_(j-1)) + 2 (T - 1) T_j``, where ``x (T - 1)`` is made of differences between neighbours.
    Taken literally, rounding would grow with the square of j, to 4e-4 of the largest value in float32.

    The polynomials of T stay small because T has the eigenvalues of a symmetric matrix, all of them in [-1, 1].
    """
    source = (activation * (1 - boundary[:, None])).flatten(2)
    links = _links(boundary, radius, beta)
    column_sum = torch.ones_like(boundary).flatten(1)[:, None]
    for shift, weight in links:
        column_sum[..., :-shift] += weight
        column_sum[..., shift:] += weight
    share = 1 / column_sum

    # T_j of the source; the step from T_(j-1) to it, times the sums of the columns; a difference between neighbours.
    now, step, difference = source.clone(), torch.zeros_like(source), torch.empty_like(source)
    # Views for the first and the second pixels of all pairs of a displacement, made once: the three stay in place.
    pairs = [
        (weight, now[..., :-shift], now[..., shift:], step[..., :-shift], step[..., shift:], difference[..., shift:])
        for shift, weight in links
    ]
    result = coefficients[0] * source
    for j, coefficient in enumerate(coefficients[1:], start=1):
        times = 1 if j == 1 else 2
        for weight, first, second, step_of_first, step_of_second, flow in pairs:
            torch.sub(second, first, out=flow)
            step_of_first.addcmul_(weight, flow, value=times)
            step_of_second.addcmul_(weight, flow, value=-times)
        now.addcmul_(step, share)
        if coefficient:
            result.add_(now, alpha=coefficient)
    # Means of the source's values lie between them; what was left out and rounding must not lead outside.
    result.clamp_(source.amin(dim=2, keepdim=True), source.amax(dim=2, keepdim=True))
    return result.view(activation.shape)


def _links(boundary: Tensor, radius: int, beta: float) -> list[Link]:
    """``affinity ** beta`` of all pairs of (N, h, w) maps, a displacement at a time, each (N, 1, h * w - shift).

    A pair whose second pixel would lie outside of the map weighs 0, so that the map can be taken as one row.
    """
    height, width = boundary.shape[1:]
    links = []
    for displacement in half_disc(radius):
        dy, dx = displacement
        if dy >= height or abs(dx) >= width:
            continue
        points = [at_pairs(boundary, displacement, point) for point in path(displacement)]
        largest = torch.maximum(points[0], points[1])
        for point in points[2:]:
            torch.maximum(largest, point, out=largest)
        weight = torch.zeros_like(boundary)
        at_pairs(weight, displacement).copy_((1 - largest) ** beta)
        shift = dy * width + dx
        links.append((shift, weight.flatten(1)[:, None, :-shift]))
    return links
