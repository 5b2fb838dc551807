"""Dropout draws the same numbers at an iteration, whatever came before."""

from types import SimpleNamespace

import torch

from sipe_mmseg.engine import IterationSeedHook


def drawn(seed, iteration):
    IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), batch_idx=0)
    return torch.rand(4)


def test_numbers_depend_on_seed_and_iteration_alone():
    expected = drawn(0, 7)
    torch.rand(100)
    assert torch.equal(drawn(0, 7), expected)
    others = [drawn(0, 8), drawn(1, 7), drawn(7, 0)]
    assert not any(torch.equal(other, expected) for other in others)
    assert not torch.equal(others[0], others[1])
