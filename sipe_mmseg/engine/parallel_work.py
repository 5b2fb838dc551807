"""The same work on many things, by several processes that end together."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2
import torch

Task = TypeVar('Task')
Result = TypeVar('Result')


def each_done(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, option: str
) -> Generator[Result, None, None]:
    """Do the work for each task, on one core each, ``jobs`` of them at a time.

    New processes are started from scratch: forking one with threads is not safe. Close the generator to stop them.

    Args:
        work: What to do; with its results it must be one that can be pickled.
        tasks: What to do it for.
        jobs: Number of processes; 1 works in this one.
        option: The option of the command by which a person sets their number.

    Yields:
        The result of each task, in their order.

    Raises:
        RuntimeError: If a process was killed; errors of ``work`` come as they are.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        with _one_thread():
            for task in tasks:
                yield work(task)
        return
    context = multiprocessing.get_context('spawn')
    try:
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_process) as pool:
            with _interrupts_held_back():
                results = pool.map(work, tasks)
            yield from results
    except BrokenProcessPool as error:
        raise RuntimeError(
            f'a process was killed, perhaps because memory ran out: run the same command again with fewer {option}, '
            'it goes on'
        ) from error


def _start_process() -> None:
    """One thread for each process; and none outlives the process that started it, not even if that was killed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Have processes that are started here never see Ctrl-C: they finish their image, and this one sees to the rest."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
