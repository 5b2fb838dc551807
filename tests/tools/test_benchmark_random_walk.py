import runpy
from pathlib import Path

import pytest
import torch

from sipe_mmseg.refinement import random_walk

TOOL = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'benchmark_random_walk.py'), run_name='tool')


@pytest.mark.parametrize('grid', [(9, 12), (14, 3)])
def test_both_ways_walk_to_the_same_place(grid: tuple[int, int]) -> None:
    maps = TOOL['inputs'](grid, 3, 'cpu')
    expected = TOOL['dense_walk'](*maps)
    assert maps[0].shape == expected.shape == (3, *grid)
    assert (random_walk(*maps) - expected).abs().max() < 5e-4 * expected.max()
    changed = TOOL['dense_walk'](*maps, radius=3, beta=2.0, exp_times=4)
    torch.testing.assert_close(random_walk(*maps, radius=3, beta=2.0, exp_times=4), changed, rtol=0, atol=1e-5)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is read from Linux')
def test_memory_of_the_dense_way_is_seen() -> None:
    megabytes = TOOL['peak_megabytes'](TOOL['dense_walk'], (30, 40), 3, 'cpu')
    assert 2 * 4 * 1200**2 / 1e6 <= megabytes + 1 < 100
