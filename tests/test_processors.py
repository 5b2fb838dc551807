"""Processors that a process may use, with the files in which Linux says so."""

import os
from pathlib import Path

import pytest

from sipe_mmseg.processors import num_processors


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f'{text}\n')
    return root


def test_those_that_it_is_bound_to(tmp_path: Path) -> None:
    assert num_processors(tmp_path) == 8


@pytest.mark.parametrize(
    ('limits', 'expected'),
    [
        ({'job/step/cpu.max': 'max 100000'}, 8),
        ({'job/step/cpu.max': '300000 100000'}, 3),
        ({'job/step/cpu.max': 'max 100000', 'job/cpu.max': '150000 100000'}, 2),
        ({'job/step/cpu.max': '3200000 100000'}, 8),
        ({'cpu.max': '50000 100000'}, 1),  # as in a container, which sees its own group as the root
    ],
)
def test_version_2(limits: dict[str, str], expected: int, tmp_path: Path) -> None:
    files = {f'sys/fs/cgroup/{name}': text for name, text in limits.items()}
    assert num_processors(write(tmp_path, {'proc/self/cgroup': '0::/job/step', **files})) == expected


@pytest.mark.parametrize(('quota', 'expected'), [('-1', 8), ('250000', 3)])
def test_version_1(quota: str, expected: int, tmp_path: Path) -> None:
    group = 'sys/fs/cgroup/cpu,cpuacct/docker'
    files = {f'{group}/cpu.cfs_quota_us': quota, f'{group}/cpu.cfs_period_us': '100000'}
    listed = '4:memory:/docker\n2:cpu,cpuacct:/docker'
    assert num_processors(write(tmp_path, {'proc/self/cgroup': listed, **files})) == expected
