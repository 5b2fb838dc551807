"""Time and memory of the random walk, side by side with the published, dense way.

    python tools/benchmark_random_walk.py > table.md
    python tools/benchmark_random_walk.py --irn configs/irn/irn_r50_1xb32-3e_coco14-512x512.py

Both ways take the published numbers (radius 5, beta 10, 2^8 steps). Above --dense-limit the dense way is extrapolated
from the largest grid it was run on: time with the third power of the number of pixels, memory with the second.
Needs Linux for the memory; each figure of it comes from a process of its own. With --irn, what IRN costs for one
image: its boundaries, found in the image and its mirror (random weights cost what trained ones do), and the walk.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor

from sipe_mmseg.engine.benchmarking import in_own_process, machine, peak_megabytes, take_turns
from sipe_mmseg.models.irn_head import GRID_STRIDE
from sipe_mmseg.refinement import random_walk
from sipe_mmseg.refinement.pixel_pairs import at_pairs, half_disc, path

Walk = Callable[[Tensor, Tensor], Tensor]


class Cost(NamedTuple):
    """Median seconds of a walk and the memory it took, in MB."""

    seconds: float
    megabytes: float


def dense_walk(activation: Tensor, boundary: Tensor, radius: int = 5, beta: float = 10, exp_times: int = 8) -> Tensor:
    """The published way: the whole matrix T, squared ``exp_times`` times. (C, h, w) and (h, w)."""
    pixels = torch.arange(boundary.numel(), device=boundary.device).view_as(boundary)
    matrix = torch.eye(boundary.numel(), dtype=boundary.dtype, device=boundary.device)
    for displacement in half_disc(radius):
        largest = torch.stack([at_pairs(boundary, displacement, point) for point in path(displacement)]).amax(dim=0)
        dy, dx = displacement
        first = at_pairs(pixels, displacement).flatten()
        second = first + dy * boundary.shape[1] + dx
        matrix[first, second] = matrix[second, first] = ((1 - largest) ** beta).flatten()
    matrix /= matrix.sum(dim=0, keepdim=True)
    for _ in range(exp_times):
        matrix = matrix @ matrix
    return ((activation * (1 - boundary)).flatten(1) @ matrix).view_as(activation)


def inputs(grid: tuple[int, int], classes: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    activation = torch.rand(classes, *grid, generator=generator)
    return activation.to(device), (torch.rand(grid, generator=generator) ** 4).to(device)


def seconds(walk: Walk, maps: tuple[Tensor, Tensor], repeats: int) -> float:
    """Median by the clock, after the walk was done once."""
    return statistics.median(take_turns({'walk': lambda: walk(*maps)}, repeats, str(maps[0].device))['walk'])


def peak(walk: Walk, grid: tuple[int, int], classes: int, device: str) -> float:
    """How much a walk raises the peak, in a process that has walked over a tiny grid before."""
    small, maps = inputs((8, 8), classes, device), inputs(grid, classes, device)
    walk(*small)
    return peak_megabytes(lambda: walk(*maps), device)


def cost(walk: Walk, grid: tuple[int, int], classes: int, device: str, repeats: int) -> Cost:
    measured = seconds(walk, inputs(grid, classes, device), repeats)
    return Cost(measured, in_own_process(peak, walk, grid, classes, device))


def irn_boundaries(config: Config, size: tuple[int, int], device: str) -> Callable[[], Tensor]:
    """What finds the boundaries in an image of a size with a config's network, at random weights."""
    init_default_scope(config.default_scope)
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model).to(device).eval()
    image = torch.rand(3, *size, device=device)
    return torch.no_grad()(lambda: model.boundary(image))


def print_irn(path: str, grid: tuple[int, int], classes: int, device: str, repeats: int) -> None:
    """Table of what an image costs with the IRN of a config: its boundaries, and the walk between them."""
    size = (grid[0] * GRID_STRIDE, grid[1] * GRID_STRIDE)
    find = irn_boundaries(Config.fromfile(path), size, device)
    boundaries = seconds(lambda *_: find(), inputs(grid, classes, device), repeats)
    walk = seconds(random_walk, inputs(grid, classes, device), repeats)
    print('| image | boundaries, s | walk, s | images per second |')
    print('|---|---|---|---|')
    print(f'| {size[0]} x {size[1]} | {boundaries:.3f} | {walk:.3f} | {1 / (boundaries + walk):.2f} |')


def grid_size(text: str) -> tuple[int, int]:
    height, width = (int(side) for side in text.split('x'))
    return height, width


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--grids',
        type=grid_size,
        nargs='+',
        metavar='HxW',
        default=[(40, 54), (70, 90), (94, 125), (120, 160)],
        help='grids, the smallest first (default: 40x54 70x90 94x125 120x160)',
    )
    parser.add_argument('--classes', type=int, default=3, help='maps, background included (default: 3)')
    parser.add_argument(
        '--dense-limit', type=int, default=6300, help='most pixels that the dense way is run on (default: 6300)'
    )
    parser.add_argument('--repeats', type=int, default=9, help='walks that the median is taken of (default: 9)')
    parser.add_argument('--dense-repeats', type=int, default=1, help='the same for the dense way (default: 1)')
    parser.add_argument('--device', default='cpu', help='where to walk, such as cuda (default: cpu)')
    parser.add_argument(
        '--irn', metavar='CONFIG', help='what IRN costs for an image of the last grid, in place of the dense way'
    )
    args = parser.parse_args()
    if not args.irn and args.grids[0][0] * args.grids[0][1] > args.dense_limit:
        parser.error('--dense-limit leaves no grid to run the dense way on')
    return args


def main() -> int:
    args = parse_args()
    print(f'{machine(args.device)}; {args.classes} maps\n')
    if args.irn:
        print_irn(args.irn, args.grids[-1], args.classes, args.device, args.repeats)
        return 0
    print('| grid | dense, s | dense, MB | here, s | here, MB | times faster | largest difference¹ |')
    print('|---|---|---|---|---|---|---|')
    for grid in args.grids:
        pixels = grid[0] * grid[1]
        here = cost(random_walk, grid, args.classes, args.device, args.repeats)
        if pixels <= args.dense_limit:
            dense = cost(dense_walk, grid, args.classes, args.device, args.dense_repeats)
            largest, largest_cost, sign = pixels, dense, ''
            maps = inputs(grid, args.classes, args.device)
            expected = dense_walk(*maps)
            difference = f'{float((random_walk(*maps) - expected).abs().max() / expected.max()):.0e}'
        else:
            growth = pixels / largest
            dense = Cost(largest_cost.seconds * growth**3, largest_cost.megabytes * growth**2)
            sign, difference = '≈ ', ''
        print(
            f'| {grid[0]} x {grid[1]} | {sign}{dense.seconds:.1f} | {sign}{dense.megabytes:.0f} | {here.seconds:.3f} '
            f'| {here.megabytes:.1f} | {sign}{dense.seconds / here.seconds:.0f} | {difference} |',
            flush=True,
        )
    print('\n¹ between the two ways, as a share of the largest value; ≈ extrapolated')
    return 0


if __name__ == '__main__':
    sys.exit(main())
