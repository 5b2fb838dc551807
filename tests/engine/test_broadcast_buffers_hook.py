"""Two processes score with the running statistics of the first."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sipe_mmseg.engine import BroadcastBuffersHook


def scored_with(rank: int, size: int, folder: Path, found: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(1)
    if size > 1:
        torch.distributed.init_process_group('gloo', f'file://{folder}/meet', rank=rank, world_size=size)
    norm = nn.BatchNorm2d(2)
    norm(torch.full((2, 2, 1, 1), 10.0 * (1 + rank)))
    norm.weight.data.fill_(rank)
    BroadcastBuffersHook().before_val(SimpleNamespace(model=norm))
    found.put((rank, norm.running_mean.tolist(), norm.num_batches_tracked.tolist(), norm.weight.tolist()))


@pytest.mark.parametrize('size', [1, 2])
def test_all_have_the_buffers_of_the_first(size: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context('fork')
    found = context.SimpleQueue()
    processes = [context.Process(target=scored_with, args=(rank, size, tmp_path, found)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    expected = [(rank, [1.0, 1.0], 1, [float(rank)] * 2) for rank in range(size)]
    assert sorted(found.get() for _ in processes) == expected
