"""The report of a training: curves, scores, pictures of the growing maps and config, from a work directory."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.image_files import open_image
from sipe_mmseg.report import collect_run_report, run_report, write_run_report
from sipe_mmseg.report.charts import line_chart

NAME = 'b"<i>'  # as nasty as a file system allows


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Two starts of a run: 40 iterations, and from 20 on once more."""
    folder = tmp_path / 'run<1>'
    for start, steps in (('20260101_000000', range(10, 50, 10)), ('20260101_000100', range(30, 70, 10))):
        pictures = folder / start / 'vis_data/vis_image'
        pictures.mkdir(parents=True)
        lines = []
        for step in steps:
            loss = 1 / step if start.endswith('100') else 9.0
            lines.append(dict(lr=0.1 - step / 1000, loss=2 * loss, loss_cls=loss, loss_gsc=loss, step=step))
            if step % 20 == 0:
                lines.append({'mIoU': float(step), 'cam_mIoU@0.15': step / 2, 'mAP': float('nan'), 'step': step})
                grey = step if start.endswith('100') else 200
                Image.fromarray(np.full((30, 90, 3), grey, np.uint8)).save(pictures / f'maps_{NAME}_{step}.png')
        (pictures.parent / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'config.py').write_text("model = dict(type='</pre><script>alert(1)</script>')\n")
    return folder


def test_starts_are_joined_and_the_newest_pictures_taken(work_dir: Path) -> None:
    run = collect_run_report(work_dir)
    assert [step for step, _ in run.curves['loss_cls']] == [10, 20, 30, 40, 50, 60]
    assert run.curves['mIoU'] == [(20, 20.0), (40, 40.0), (60, 60.0)]
    assert list(run.pictures) == [NAME]
    assert [step for step, _ in run.pictures[NAME]] == [20, 40, 60]
    assert [(tile.width, tile.height) for _, tile in run.pictures[NAME]] == [(90, 30)] * 3
    uris = [tile.uri for _, tile in run.pictures[NAME]]
    assert len(set(uris)) == 3
    assert run.config is not None
    assert 'alert' in run.config


def test_pictures_of_an_abandoned_training_and_broken_ones_are_left_out(work_dir: Path, tmp_path: Path) -> None:
    old, new = (work_dir / f'20260101_000{digit}00/vis_data/vis_image' for digit in '01')
    for step in (39, 55):  # behind where the second start begins again
        Image.new('RGB', (90, 30)).save(old / f'maps_{NAME}_{step}.png')
    whole = (new / f'maps_{NAME}_60.png').read_bytes()
    (new / f'maps_{NAME}_60.png').write_bytes(whole[: len(whole) // 2])
    (new / 'maps_other_40.png').touch()
    Image.new('RGB', (90, 30)).save(new / 'maps_without a step.png')
    run = collect_run_report(work_dir)
    assert {name: [step for step, _ in pictures] for name, pictures in run.pictures.items()} == {NAME: [20, 40]}
    write_run_report(tmp_path / 'report.html', run)
    assert '2 pictures are left out: the files are cut short or damaged.' in (tmp_path / 'report.html').read_text()


@pytest.mark.parametrize(
    'fault', [OSError(errno.EIO, os.strerror(errno.EIO)), PermissionError(errno.EACCES, 'no'), MemoryError()]
)
def test_a_fault_of_the_machine_is_no_unreadable_picture(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(path: Path) -> None:
        raise fault

    monkeypatch.setattr(run_report, 'open_image', fail)
    with pytest.raises(type(fault)) as caught:
        collect_run_report(work_dir)
    assert caught.value is fault


def test_only_pictures_that_are_shown_are_read(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(run_report, 'open_image', lambda path: (read.append(path.stem), open_image(path))[1])
    collect_run_report(work_dir, max_pictures=2)
    assert read == [f'maps_{NAME}_20', f'maps_{NAME}_60']


def test_more_losses_than_a_chart_has_lines(work_dir: Path, tmp_path: Path) -> None:
    log = work_dir / '20260101_000100/vis_data/scalars.json'
    log.write_text(json.dumps({f'decode.d{index}.loss': 1.0 for index in range(9)} | {'loss': 9.0, 'step': 10}) + '\n')
    write_run_report(tmp_path / 'report.html', collect_run_report(work_dir))
    assert (tmp_path / 'report.html').read_text().count('<svg') == 1


@pytest.mark.parametrize(('most', 'steps'), [(1, [60]), (2, [20, 60]), (3, [20, 40, 60]), (9, [20, 40, 60])])
def test_first_and_last_pictures_are_kept(work_dir: Path, most: int, steps: list[int]) -> None:
    run = collect_run_report(work_dir, max_pictures=most, longer_side=45)
    assert [step for step, _ in run.pictures[NAME]] == steps
    assert {(tile.width, tile.height) for _, tile in run.pictures[NAME]} == {(45, 15)}


def test_page_has_it_all_and_nothing_can_run_in_it(work_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / 'report.html'
    write_run_report(out, collect_run_report(work_dir))
    text = out.read_text()
    assert '<h1>run&lt;1&gt;</h1>' in text
    assert '<dd class="value">60.00 %</dd><dd class="what">after 60 iterations</dd>' in text
    assert text.count('<svg') == 3
    assert 'nan %' not in text
    assert text.count('data:image/jpeg') == 3
    assert 'maps of b&quot;&lt;i&gt; after 40 iterations' in text
    assert '&lt;script&gt;alert(1)' in text
    assert len(re.findall('<script', text)) == 1  # the page's own
    assert '<tr><th scope="row">40</th><td>40</td><td>20</td><td>nan</td></tr>' in text
    first = out.read_bytes()
    write_run_report(out, collect_run_report(work_dir))
    assert out.read_bytes() == first


def test_a_training_that_drew_nothing_and_kept_no_config(work_dir: Path, tmp_path: Path) -> None:
    (work_dir / 'config.py').unlink()
    for picture in work_dir.glob('*/vis_data/vis_image/*.png'):
        picture.unlink()
    write_run_report(tmp_path / 'report.html', collect_run_report(work_dir))
    text = (tmp_path / 'report.html').read_text()
    assert text.count('<svg') == 3
    assert 'The maps grow' not in text and 'left out' not in text and 'Config of the training' not in text


def test_a_folder_without_logs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no \*/vis_data/scalars\.json in it'):
        collect_run_report(tmp_path)


@pytest.mark.parametrize('setting', ['max_pictures', 'longer_side'])
def test_numbers_that_make_no_sense(work_dir: Path, setting: str) -> None:
    with pytest.raises(ValueError, match=f'{setting}=0: must be at least 1'):
        collect_run_report(work_dir, **{setting: 0})


class TestLineChart:
    def points(self, chart: str, line: str = 'first') -> list[tuple[float, float]]:
        text = re.search(f'class="curve {line}" points="([^"]*)"', chart)
        assert text is not None
        return [tuple(map(float, pair.split(','))) for pair in text[1].split()]

    def test_lines_end_where_the_axes_do(self) -> None:
        chart = line_chart({'a': [(0, 0.0), (10, 4.0)], 'b': [(5, 2.0)]}, 'what')
        (left, bottom), (right, top) = self.points(chart)
        assert self.points(chart, 'second') == [((left + right) / 2, (top + bottom) / 2)]
        grid = [float(y) for y in re.findall(r'class="grid"[^>]* y1="([\d.]+)"', chart)]
        assert (max(grid), min(grid)) == (bottom, top)
        assert re.findall(r'text-anchor="end">([\d.,]+)<', chart) == ['0', '1', '2', '3', '4', '10']

    @pytest.mark.parametrize(
        ('value', 'end'), [(0.0, 1), (0.031, 0.04), (1.0, 1), (1.01, 2), (63.0, 80), (99.0, 100), (0.7, 0.8)]
    )
    def test_axis_ends_at_a_round_number(self, value: float, end: float) -> None:
        labels = re.findall(r'text-anchor="end">([\d.e-]+)<', line_chart({'a': [(1, value)]}, 'what'))
        assert float(labels[4]) == end

    def test_many_points_are_thinned_from_the_first_to_the_last(self) -> None:
        found = self.points(line_chart({'a': [(step, step / 7) for step in range(1, 5001)]}, 'what'))
        assert len(found) == 300
        assert found[0][0] < found[1][0]
        assert found[-1][0] == 348.0

    def test_what_is_no_number_is_not_drawn(self) -> None:
        assert len(self.points(line_chart({'a': [(1, float('nan')), (2, 3.0), (3, float('inf'))]}, 'what'))) == 1

    @pytest.mark.parametrize('series', [{}, {'a': []}, {name: [(1, 1.0)] for name in 'abcde'}])
    def test_no_lines_or_too_many(self, series: dict) -> None:
        with pytest.raises(ValueError, match='what: needs one to 4 lines'):
            line_chart(series, 'what')
