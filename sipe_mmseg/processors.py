"""How many processors there are for this process."""

import math
import os
from pathlib import Path


def num_processors(root: str | os.PathLike[str] = '/') -> int:
    """Processors that this process may use at a time: fewer than the machine has, where it is bound to some of them, or
    a control group (of a container, or of a scheduler of jobs) limits its share; part of a processor counts as one.

    Args:
        root: Folder with ``proc`` and ``sys``.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min([allowed, *(max(1, math.ceil(share)) for share in _shares(Path(root)))])


def _shares(root: Path) -> list[float]:
    """Limits of the control groups that this process is in, and of those around them: versions 1 and 2."""
    try:
        lines = (root / 'proc/self/cgroup').read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(':', 2)
        if controllers and 'cpu' not in controllers.split(','):
            continue
        mount = root / 'sys/fs/cgroup' / controllers
        place = mount / group.strip('/')
        for folder in (place, *(parent for parent in place.parents if parent.is_relative_to(mount))):
            found += _share_of_folder(folder)
    return found


def _share_of_folder(folder: Path) -> list[float]:
    for names in (('cpu.max',), ('cpu.cfs_quota_us', 'cpu.cfs_period_us')):
        try:
            quota, period = ' '.join((folder / name).read_text() for name in names).split()
        except OSError:  # a group without a limit of this kind, or one that only its host sees
            continue
        if quota not in ('max', '-1'):
            return [int(quota) / int(period)]
    return []
