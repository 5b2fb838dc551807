"""The blocks of code on the pages of documentation, and the working directory of a reader who follows them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FILE = re.compile(r'# (my/\w+\.py)\n')


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that a block of Python is, if it names one in its first line."""
        found = FILE.match(self.text) if self.language == 'python' else None
        return found[1] if found else None


@pytest.fixture(scope='session')
def page_blocks() -> Callable[[Path], list[Block]]:
    return lambda page: [Block(*found) for found in BLOCK.findall(page.read_text())]


@pytest.fixture
def reader_home(tmp_path: Path) -> Path:
    """A folder with what a reader's working directory has: configs, tools, and a folder of his own."""
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / 'my').mkdir()
    return tmp_path


@pytest.fixture
def run_in(reader_home: Path) -> Callable[..., str]:
    """Runs a shell script in the reader's working directory by this Python, and returns what it printed."""

    def run(script: str, **environment: str) -> str:
        paths = [str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
        done = subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', script.replace('PYTHONPATH=.', 'PYTHONPATH=.:$PYTHONPATH')],
            cwd=reader_home,
            env={
                **os.environ,
                'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
                'PYTHONPATH': os.pathsep.join(filter(None, paths)),
                'CUDA_VISIBLE_DEVICES': '',
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout

    return run
