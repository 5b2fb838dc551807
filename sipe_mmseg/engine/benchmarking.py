"""Clocks and memory for the benchmarks in ``tools``."""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from .. import __version__

_MMAP_THRESHOLD = 'MALLOC_MMAP_THRESHOLD_'


def take_turns(contestants: Mapping[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, by the clock; a first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats + 1):
        for name, contestant in contestants.items():
            _finish(device)
            start = time.perf_counter()
            contestant()
            _finish(device)
            times[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in times.items()}


def peak_megabytes(function: Callable[[], Any], device: str) -> float:
    """How much a call raises the peak of memory in MB: of the GPU's allocator, or of this process (Linux)."""
    if device.startswith('cuda'):
        _finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak to what is resident now
    resident = resident_megabytes()
    function()
    return resident_megabytes('VmHWM') - resident


def resident_megabytes(field: str = 'VmRSS', process: int | str = 'self') -> float:
    """A figure of a process from Linux: ``VmRSS`` is resident now, ``VmHWM`` the most that ever was."""
    lines = Path(f'/proc/{process}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a fresh process, which no earlier call has given memory.

    In it glibc hands every larger block back as soon as it is freed. As it comes, it keeps them for later, and the peak
    of resident memory says as much about the order of sizes as about what is in use.
    """
    before = os.environ.get(_MMAP_THRESHOLD)
    os.environ[_MMAP_THRESHOLD] = str(2**16)  # read by glibc when the process starts
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        if before is None:
            del os.environ[_MMAP_THRESHOLD]
        else:
            os.environ[_MMAP_THRESHOLD] = before


def machine(device: str) -> str:
    """What figures were measured with, in one line."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    processor = names[0] if names else platform.processor()
    gpu = f', {torch.cuda.get_device_name(device)}' if device.startswith('cuda') else ''
    return (
        f'{processor}{gpu}, {torch.get_num_threads()} threads; Python {platform.python_version()}, '
        f'torch {torch.__version__}, sipe_mmseg {__version__}'
    )


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of figures as a table in Markdown, three digits each."""

    def shown(value: Any) -> str:
        return (
            f'{value:.3g}'
            if isinstance(value, float) and abs(value) < 100
            else f'{value:.0f}'
            if isinstance(value, float)
            else str(value)
        )

    keys = list(rows[0])
    lines = ['| ' + ' | '.join(key.replace('_', ' ') for key in keys) + ' |', '|' + '---|' * len(keys)]
    return '\n'.join([*lines, *('| ' + ' | '.join(shown(row[key]) for key in keys) + ' |' for row in rows)])


def _finish(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
