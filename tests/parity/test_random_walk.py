"""What the published random walk computed, with its dense matrix, held against the one without.

``--parity-dir DIR`` takes another folder of files of the same form (other sizes and numbers).
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from sipe_mmseg.refinement import random_walk


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.config.getoption('--parity-dir')
    files = sorted(folder.glob('random_walk*.npz'))
    assert files, f'{folder} holds no random_walk*.npz'
    metafunc.parametrize('walk_file', files, ids=lambda path: path.stem)


# The recorded run squared a float32 matrix, which by itself is 1e-4 of the largest value away from float64.
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_random_walk(walk_file: Path, dtype: torch.dtype) -> None:
    with np.load(walk_file, allow_pickle=False) as data:
        reference = {key: data[key] for key in data.files}
    found = random_walk(
        torch.from_numpy(reference['activation']).to(dtype),
        torch.from_numpy(reference['boundary'])[0].to(dtype),
        radius=int(reference['radius']),
        beta=float(reference['beta']),
        exp_times=int(reference['exp_times']),
    )
    expected = reference['propagated']
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=5e-4 * expected.max())
