import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sipe_mmseg.refinement import random_walk

PATH = Path(__file__).parents[2] / 'tools' / 'benchmark_random_walk.py'
TOOL = runpy.run_path(str(PATH), run_name='tool')


@pytest.mark.parametrize('grid', [(9, 12), (14, 3)])
def test_both_ways_walk_to_the_same_place(grid: tuple[int, int]) -> None:
    maps = TOOL['inputs'](grid, 3, 'cpu')
    expected = TOOL['dense_walk'](*maps)
    assert maps[0].shape == expected.shape == (3, *grid)
    assert (random_walk(*maps) - expected).abs().max() < 5e-4 * expected.max()
    changed = TOOL['dense_walk'](*maps, radius=3, beta=2.0, exp_times=4)
    torch.testing.assert_close(random_walk(*maps, radius=3, beta=2.0, exp_times=4), changed, rtol=0, atol=1e-5)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is read from Linux')
@pytest.mark.slow
def test_memory_of_the_dense_way_is_seen() -> None:
    command = [sys.executable, str(PATH), '--grids', '30x40', '--repeats', '1', '--dense-repeats', '1']
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (row,) = [line for line in output.splitlines() if line.startswith('| 30 x 40 |')]
    dense, here = (float(row.split('|')[column]) for column in (3, 5))
    assert 2 * 4 * 1200**2 / 1e6 <= dense + 1 < 100
    assert here < dense


def test_what_irn_costs_for_an_image() -> None:
    config = PATH.parents[1] / 'configs/irn/irn_r18_1xb16-6e_shapes-160x160.py'
    command = [sys.executable, str(PATH), '--irn', str(config), '--grids', '10x12', '--repeats', '1']
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (row,) = [line for line in output.splitlines() if line.startswith('| 40 x 48 |')]
    boundaries, walk, rate = (float(cell) for cell in row.split('|')[2:5])
    assert boundaries > 0
    assert rate == pytest.approx(1 / (boundaries + walk), rel=0.1, abs=0.01)  # each is rounded
