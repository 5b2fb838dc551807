"""Randomness inside the network that goes on after a resume as if there had been no break."""

from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed torch's generator before every training iteration from (seed of the run, process, iteration).

    MMEngine's checkpoints hold no state of the generators, so that dropout and drop path would draw other numbers after
    ``--resume``. Data need no such thing with ``SeededSampler``.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the generators of the CPU and the GPU."""
        words = np.random.SeedSequence((runner.seed, get_rank(), runner.iter)).generate_state(2, np.uint64)
        torch.manual_seed(int(words[0] >> np.uint64(1)))
