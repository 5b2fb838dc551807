"""Options and set-up of the test suite."""

from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--parity-dir',
        type=Path,
        default=Path(__file__).parent / 'data' / 'parity',
        help='folder of reference numbers, laid out as the shipped one',
    )
    parser.addoption(
        '--fuzz-inputs',
        type=int,
        default=200,
        help='how many bad files to have each parser read (default: %(default)s)',
    )


@pytest.fixture(autouse=True, scope='session')
def mmseg_scope_of_fixtures() -> None:
    """For fixtures that are made before the first test."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def mmseg_scope() -> None:
    """What a Runner does before it builds anything, whatever the test before has left behind: names are mmseg's."""
    init_default_scope('mmseg')
