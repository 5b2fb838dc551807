"""What the benchmarks measure with, on things that are known."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sipe_mmseg.engine.benchmarking import in_own_process, machine, peak_megabytes, take_turns


def test_contestants_take_turns_after_a_round_that_does_not_count() -> None:
    order = []

    def slow() -> None:
        order.append('slow')
        time.sleep(0.02)

    times = take_turns({'slow': slow, 'quick': lambda: order.append('quick')}, 3, 'cpu')
    assert order == ['slow', 'quick'] * 4
    assert [len(seconds) for seconds in times.values()] == [3, 3]
    assert min(times['slow']) >= 0.02


def megabytes_of_an_array(size: int) -> float:
    def fill() -> float:
        return float(np.ones(size * 1_000_000, dtype=np.uint8).sum())

    return peak_megabytes(fill, 'cpu')


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is read from Linux')
def test_the_peak_counts_what_is_gone_again() -> None:
    assert megabytes_of_an_array(200) == pytest.approx(200, abs=20)


def test_another_process_calls_and_hands_errors_back() -> None:
    assert in_own_process(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        in_own_process(divmod, 1, 0)


def test_the_head_of_a_table() -> None:
    assert f'{torch.get_num_threads()} threads' in machine('cpu')
    assert f'torch {torch.__version__}' in machine('cpu')
