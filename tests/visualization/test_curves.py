"""Curves: several starts of one run joined, and what is drawn of them."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.visualization import curves
from sipe_mmseg.visualization.curves import draw_curves, read_curves

ROOT = Path(__file__).parents[2]


def trained(step: int, **more: Any) -> dict[str, Any]:
    """What is logged of an iteration; the losses say which."""
    figures = dict(base_lr=0.1 - step / 1000, lr=0.1 - step / 1000, loss=step + 0.5, loss_cls=float(step), loss_gsc=0.5)
    return figures | more | dict(epoch=1, iter=step, step=step)


def scored(step: int, figure: float) -> dict[str, Any]:
    return dict(mIoU=figure, mAP=figure + 1, time=0.1, step=step)


def log(work_dir: Path, start: str, records: list[dict[str, Any]], end: str = '') -> None:
    path = work_dir / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records) + end)


def test_one_start(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10), trained(20), scored(20, 33.0)])
    found = read_curves(tmp_path)
    assert found['loss_cls'] == [(10, 10.0), (20, 20.0)]
    assert found['mIoU'] == [(20, 33.0)]
    assert found['mAP'] == [(20, 34.0)]
    assert 'step' not in found
    assert read_curves(tmp_path / '20260101_000000') == found


def test_a_resumed_run_counts_no_step_twice(tmp_path: Path) -> None:
    # Broken off at 40, begun anew from the checkpoint of iteration 20.
    log(tmp_path, '20260101_000000', [trained(10), trained(20), scored(20, 1.0), trained(30), trained(40)])
    log(tmp_path, '20260102_000000', [trained(30, loss_cls=0.3), trained(40, loss_cls=0.4), scored(40, 2.0)])
    log(tmp_path, '20260103_000000', [trained(50, loss_cls=0.5)])
    found = read_curves(tmp_path)
    assert found['loss_cls'] == [(10, 10.0), (20, 20.0), (30, 0.3), (40, 0.4), (50, 0.5)]
    assert found['mIoU'] == [(20, 1.0), (40, 2.0)]


def test_a_run_that_began_anew_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10), trained(20), trained(30), scored(30, 1.0)])
    log(tmp_path, '20260102_000000', [trained(10, loss_cls=0.1), trained(20, loss_cls=0.2)])
    found = read_curves(tmp_path)
    assert found['loss_cls'] == [(10, 0.1), (20, 0.2)]
    assert 'mIoU' not in found


def test_a_start_that_only_scored_is_left_out(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10), scored(10, 1.0)])
    log(tmp_path, '20260102_000000', [scored(0, 99.0)])
    assert read_curves(tmp_path)['mIoU'] == [(10, 1.0)]


def test_a_last_line_that_is_cut_off_is_left_out_and_other_damage_named(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10)], end='{"loss": 0.3, "st')
    assert read_curves(tmp_path)['loss'] == [(10, 10.5)]
    path = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.write_text(path.read_text() + '\n')
    with pytest.raises(ValueError, match=r'scalars\.json: line 2 is not a JSON object with a step.*"loss": 0\.3'):
        read_curves(tmp_path)


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder; name the work directory of a training'):
        read_curves(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'no \*/vis_data/scalars\.json in it'):
        read_curves(tmp_path)
    log(tmp_path, '20260101_000000', [dict(step=10, loss=None, time=0.5)])
    with pytest.raises(ValueError, match='no training has logged anything yet'):
        read_curves(tmp_path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Curves of the pictures drawn, by the label of the axis and by name."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    savefig = curves.Figure.savefig

    def look(figure: Any, out: Any, **options: Any) -> None:
        for axis in figure.axes:
            lines = {line.get_label(): list(map(tuple, line.get_xydata().tolist())) for line in axis.get_lines()}
            found[axis.get_ylabel()] = lines
        savefig(figure, out, **options)

    monkeypatch.setattr(curves.Figure, 'savefig', look)
    return found


def test_losses_rate_and_scores_are_drawn(tmp_path: Path, drawn: dict) -> None:
    log(tmp_path, '20260101_000000', [trained(10), trained(20), scored(20, 33.0)])
    out = tmp_path / 'new' / 'curves.png'
    draw_curves(tmp_path, out)
    assert list(drawn) == ['loss', 'learning rate', 'score (%)']
    assert drawn['loss'] == dict(loss_cls=[(10, 10), (20, 20)], loss_gsc=[(10, 0.5), (20, 0.5)])
    assert list(drawn['learning rate']) == ['lr']
    assert drawn['score (%)'] == dict(mIoU=[(20, 33)], mAP=[(20, 34)])
    picture = np.asarray(Image.open(out).convert('RGB'))
    assert picture.shape == (972, 960, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_what_is_not_logged_is_left_out(tmp_path: Path, drawn: dict) -> None:
    # A segmentation network that has no masks to score against, and two learning rates.
    record = {'base_lr': 0.1, 'lr': 0.01, 'loss': 3.0, 'decode.loss_ce': 2.0, 'aux.loss_ce': 1.0, 'step': 5}
    log(tmp_path, '20260101_000000', [record])
    draw_curves(tmp_path, tmp_path / 'curves.png')
    assert {title: list(lines) for title, lines in drawn.items()} == {
        'loss': ['decode.loss_ce', 'aux.loss_ce'],
        'learning rate': ['base_lr', 'lr'],
    }


def test_the_total_loss_where_it_is_the_only_one_and_other_scores(tmp_path: Path, drawn: dict) -> None:
    log(tmp_path, '20260101_000000', [dict(loss=3.0, step=5), dict(seed_mIoU=7.0, mIoU=8.0, step=5)])
    draw_curves(tmp_path, tmp_path / 'curves.svg', scores=['seed_mIoU'])
    assert drawn == {'loss': dict(loss=[(5, 3)]), 'score (%)': dict(seed_mIoU=[(5, 7)])}
    assert '<svg' in (tmp_path / 'curves.svg').read_text()


@pytest.mark.parametrize('name', ['c', 'c.jpgg', 'photos.d', '.png'])
def test_a_file_that_is_no_picture_by_its_name(name: str, tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10)])
    with pytest.raises(ValueError, match=re.escape(f'{name}: name a file that ends with .png, .svg or .pdf')):
        draw_curves(tmp_path, tmp_path / name)


def test_a_folder_is_no_file_for_the_picture(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10)])
    (tmp_path / 'photos').mkdir()
    with pytest.raises(IsADirectoryError, match='photos is a folder; name a file'):
        draw_curves(tmp_path, tmp_path / 'photos')


def test_scores_that_are_named_have_to_be_there(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(10), scored(10, 33.0)])
    with pytest.raises(ValueError, match="has logged no 'miou'; did you mean 'mIoU'"):
        draw_curves(tmp_path, tmp_path / 'a.png', ['mIoU', 'miou'])
    with pytest.raises(ValueError, match=r"has logged no 'fly'; there are .*loss_gsc.*mAP, mIoU"):
        draw_curves(tmp_path, tmp_path / 'a.png', ['fly'])
    assert not (tmp_path / 'a.png').exists()


def run_tool(*arguments: Any) -> Any:
    """Exit code of ``tools/draw_curves.py``."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr('sys.argv', ['draw_curves.py', *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools' / 'draw_curves.py'), run_name='__main__')
    return end.value.code


def test_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log(tmp_path, '20260101_000000', [trained(10), trained(20), scored(20, 33.0)])
    assert run_tool(tmp_path, '--out', tmp_path / 'curves.png') == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / 'curves.png')
    assert Image.open(tmp_path / 'curves.png').size == (960, 972)
    assert run_tool(ROOT / 'docs', '--out', tmp_path / 'docs.png') == 1
    assert capsys.readouterr().err.startswith(f'{ROOT / "docs"}: no */vis_data/scalars.json in it')
    assert not (tmp_path / 'docs.png').exists()
