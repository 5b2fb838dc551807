"""Processes that work together, and that end together."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import init_dist
from torch import distributed

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however that ends. Linux alone can."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def joined_processes(launcher: str) -> Iterator[None]:
    """Join the processes of ``torchrun`` into a process group, with or without GPUs, and leave it at the end.

    Args:
        launcher: ``'pytorch'`` under ``torchrun``, ``'none'`` for a process on its own.

    Raises:
        ValueError: If this process was not started by ``torchrun``.
    """
    if launcher == 'none':
        yield
        return
    if 'WORLD_SIZE' not in os.environ:
        raise ValueError(f'launcher {launcher!r}: start the command by torchrun --nproc-per-node NUMBER')
    end_with_parent()
    if torch.cuda.is_available():
        init_dist(launcher, backend='nccl')
    else:
        join_processes_without_gpu()
    try:
        yield
    finally:
        distributed.destroy_process_group()


def join_processes_without_gpu() -> list[str]:
    """Start gloo between the processes of ``torchrun`` on a machine without a GPU.

    MMEngine's launcher calls ``torch.cuda.set_device`` whatever the backend is, but leaves a process group alone that
    is there already; and it hands ``DistributedDataParallel`` the number of a GPU unless the config says otherwise.

    Returns:
        What the command line needs besides, for the latter.
    """
    distributed.init_process_group('gloo')
    return ['--cfg-options', 'model_wrapper_cfg.device_ids=None', 'model_wrapper_cfg.broadcast_buffers=False']
