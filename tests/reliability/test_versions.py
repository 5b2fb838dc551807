"""The locked versions: one file for each Python, with all that the package and its tests need, in what we promise."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / 'pyproject.toml').read_text()
PYTHONS = re.findall(r"Python :: (3\.\d+)'", PROJECT)
EXTRAS = ('', 'lite', 'crf', 'dev')


def normal_name(name: str) -> str:
    return re.sub('[-_.]+', '-', name).lower()


def locked(python: str) -> dict[str, str]:
    lines = (ROOT / '.ci' / 'lock' / f'python{python}.txt').read_text().splitlines()
    return {normal_name(name): version for name, _, version in (line.partition('==') for line in lines)}


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_has_what_is_needed(python: str) -> None:
    versions = locked(python)
    for text in requires('sipe-mmseg') or ():
        needed = Requirement(text)
        environment = {'python_version': python, 'python_full_version': f'{python}.0'}
        if needed.marker is None or any(needed.marker.evaluate({**environment, 'extra': extra}) for extra in EXTRAS):
            assert needed.specifier.contains(versions[normal_name(needed.name)]), text
    assert {'grad-cam', 'ttach'} <= versions.keys()


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_names_versions_alone(python: str) -> None:
    for line in (ROOT / '.ci' / 'lock' / f'python{python}.txt').read_text().splitlines():
        assert re.fullmatch(r'[\w.-]+==[\w.]+', line), 'no place, no index, and no build of torch for one machine'


def test_the_pythons_are_the_same_everywhere() -> None:
    first, last = PYTHONS[0], PYTHONS[-1]
    following = f'3.{int(last.partition(".")[2]) + 1}'
    assert f"requires-python = '>={first},<{following}'" in PROJECT
    assert f'Python {first} to {last}' in (ROOT / 'README.md').read_text()
    assert f'Python {first} to {last}' in (ROOT / 'docs' / 'tutorial.md').read_text()
    shown = f'(3, {first.partition(".")[2]}) <= sys.version_info[:2] <= (3, {last.partition(".")[2]})'
    assert shown in (ROOT / 'Makefile').read_text() and shown in (ROOT / '.ci' / 'run').read_text()
    assert sorted(path.stem for path in (ROOT / '.ci' / 'lock').iterdir()) == [f'python{python}' for python in PYTHONS]
