"""Sampling in which the randomness of a sample depends on nothing but the seed, the epoch and the sample."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS


class SampleIndex(int):
    """Index of a sample that knows the seed and the epoch it is drawn in, also on its way to a worker process.

    Args:
        index: The index.
        seed: Seed of the run.
        epoch: Epoch, from 0.
    """

    seed: int
    epoch: int

    def __new__(cls, index: int, seed: int, epoch: int) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.seed = seed
        self.epoch = epoch
        return self

    def __reduce__(self) -> tuple[type['SampleIndex'], tuple[int, int, int]]:
        return type(self), (int(self), self.seed, self.epoch)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler``, which also tells the data set the seed and the epoch.

    With ``ImageLevelDataset``, augmentation is then the same for any number of workers or processes, and goes on after
    a resume as it would have gone without the break. A wrapper between the two (``ConcatDataset``, ``RepeatDataset``)
    computes indices of its own, plain ones, and so undoes this.
    """

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            yield SampleIndex(index, self.seed, self.epoch)


@contextmanager
def sample_randomness(index: int) -> Iterator[None]:
    """Seeds ``random`` and ``numpy.random`` for one sample, and puts their state back afterwards.

    Args:
        index: If this is a ``SampleIndex``, its (seed, epoch, index) gives the seed; with a plain ``int`` nothing is
            done.
    """
    if not isinstance(index, SampleIndex):
        yield
        return
    python_state, numpy_state = random.getstate(), np.random.get_state()
    words = np.random.SeedSequence((index.seed, index.epoch, int(index))).generate_state(8)
    np.random.seed(words[:4])
    random.seed(words[4:].tobytes())
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
