"""Every part of tools/benchmark.py at tiny sizes: what it prints and writes, not how fast anything is."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, *words: str) -> list[dict[str, Any]]:
    output = folder / 'figures.json'
    command = [sys.executable, 'tools/benchmark.py', *words, '--repeats', '1', '--json', str(output)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    found = json.loads(output.read_text())
    assert found['machine'] in printed.splitlines()
    assert len([line for line in printed.splitlines() if line.startswith('| ')]) == len(found['rows']) + 1
    return found['rows']


reads_memory = pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is read from Linux')


@pytest.mark.slow
@reads_memory
def test_inference(tmp_path: Path) -> None:
    rows = run(tmp_path, 'inference', '--size', '128', '--batch', '1')
    assert [row['name'] for row in rows] == ['encoder', 'here', 'encoder_unfolded']
    assert rows[0]['ratio'] == rows[0]['memory_ratio'] == 1
    assert all(row['seconds'] > 0 and row['megabytes'] > 0 for row in rows)


@reads_memory
@pytest.mark.slow
def test_steps_and_growth(tmp_path: Path) -> None:
    words = ('--along', 'batch', '--values', '2', '--size', '128', '--plot', str(tmp_path / 'growth.png'))
    rows = run(tmp_path, 'growth', *words)
    assert [(row['batch'], row['name']) for row in rows] == [(2, 'encoder'), (2, 'here'), (2, 'transcription')]
    assert rows[0]['ratio'] == rows[0]['memory_ratio'] == 1
    assert all(row['seconds'] > 0 and row['megabytes'] > 0 for row in rows)
    assert (tmp_path / 'growth.png').stat().st_size > 1000


@pytest.mark.slow
def test_labels(tmp_path: Path) -> None:
    rows = run(tmp_path, 'labels', '--size', '64', '--images', '4', '--batch', '2')
    assert [row['name'] for row in rows] == ['encoder', 'here']
    assert all(row['images_per_second'] > 0 for row in rows)
    assert rows[1]['ratio'] > rows[0]['ratio'] == 1


def test_evaluation_and_loading(tmp_path: Path) -> None:
    rows = run(tmp_path, 'evaluation', '--images', '10', '--classes', '3')
    assert [row['images'] for row in rows] == list(range(1, 11))
    rows = run(tmp_path, 'loading', '--images', '3')
    assert [row['name'] for row in rows] == ['decode and resize', 'pipeline']
    assert all(row['images_per_second'] > 0 for row in rows)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('step', '--plot', 'growth.png'), '--plot shows how something grows: step has nothing to plot'),
        (('step', '--json', 'nowhere/figures.json'), 'there is no folder nowhere'),
        (('step', '--classes', '2'), '--classes must be at least 3, background included'),
        (('labels', '--images', '3', '--batch', '2'), '--images 3 is no multiple of --batch 2'),
        (('growth', '--without', 'encoder'), "invalid choice: 'encoder'"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['tools/benchmark.py', *words])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'), run_name='__main__')
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
