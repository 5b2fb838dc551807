"""tools/mmseg_tool.py, and what docs/troubles.md says about MMSegmentation's own tools."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / 'tools/mmseg_tool.py')
CONFIG = str(ROOT / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py')


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, check=False)


def test_runs_a_tool_of_mmseg(tmp_path: Path) -> None:
    done = run(TOOL, 'misc/print_config.py', CONFIG, cwd=tmp_path)  # it writes example.py, too
    assert done.returncode == 0, done.stderr
    assert "type='SIPEHead'" in done.stdout


def test_no_tool_and_one_that_is_not_there() -> None:
    done = run(TOOL)
    assert done.returncode == 1
    assert 'misc/print_config.py' in done.stderr
    done = run(TOOL, 'misc/fly.py')
    assert done.returncode == 1
    assert done.stderr.startswith('MMSegmentation') and 'comes without tools/misc/fly.py' in done.stderr


def test_the_page_counts_operations() -> None:
    page = (ROOT / 'docs/troubles.md').read_text()
    (snippet,) = re.findall(r'```python\n(.*?)```', page, flags=re.DOTALL)
    done = run('-c', snippet)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ['0.42G', '2.911M']
    assert '0.42 G, and 2.911 M parameters' in page
