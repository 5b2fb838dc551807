"""The pictures of docs/method.md: small, each one shown, and made anew by the script that the page names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs/method.md'
SCRIPT = REPOSITORY / 'docs/make_method_pictures.py'


def test_page_shows_every_picture_and_none_is_large() -> None:
    shown = re.findall(r'!\[[^\]]+\]\(method/(\w+\.png)\)', PAGE.read_text())
    pictures = sorted((REPOSITORY / 'docs/method').iterdir())
    assert sorted(shown) == [path.name for path in pictures]
    assert all(path.stat().st_size < 150_000 for path in pictures)


@pytest.mark.slow
def test_script_makes_them(tmp_path: Path) -> None:
    """After one epoch each; the sizes are those of the shipped ones, but for the epochs side by side."""
    folders = ['--data-root', tmp_path / 'shapes', '--work-dir', tmp_path / 'runs', '--out', tmp_path / 'pictures']
    subprocess.run([sys.executable, SCRIPT, *folders, '--epochs', '1'], cwd=REPOSITORY, check=True)
    shipped = {path.name: Image.open(path).size for path in (REPOSITORY / 'docs/method').iterdir()}
    made = {path.name: Image.open(path).size for path in (tmp_path / 'pictures').iterdir()}
    assert made.keys() == shipped.keys()
    assert {name: size for name, size in made.items() if name not in ('gsc.png', 'seeds.png')} == {
        name: size for name, size in shipped.items() if name not in ('gsc.png', 'seeds.png')
    }
