"""Classes held back by the background."""

import numpy as np
import pytest
import torch

from sipe_mmseg.refinement.foreground import held_back_by_background


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_every_class_is_weakened_where_background_is_strong(kind) -> None:
    is_cam = np.random.default_rng(0).random((3, 4, 5)) * 1.2
    found = np.asarray(held_back_by_background(kind(is_cam.copy())))
    for row in range(4):
        for column in range(5):
            background = is_cam[0, row, column]
            assert found[0, row, column] == 0
            for k in (1, 2):
                expected = is_cam[k, row, column] * max(1 - background, 0)
                assert found[k, row, column] == pytest.approx(expected)


def test_its_input_stays_as_it_is() -> None:
    is_cam = torch.rand(2, 3, 3)
    before = is_cam.clone()
    held_back_by_background(is_cam)
    assert torch.equal(is_cam, before)
