"""Losses, learning rate and scores of a training as curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..datasets.atomic_write import atomic_write, check_writable
from ..datasets.json_files import parse_json
from ..datasets.messages import closest, shown

Curves = dict[str, list[tuple[int, float]]]
"""Of each logged figure its (iterations done, value), in the order of iterations."""

SCORES = ('mIoU', 'mAP')


def draw_curves(work_dir: str | Path, out: str | Path, scores: Sequence[str] | None = None) -> None:
    """Draw losses, learning rate and scores of a run over its iterations, one above the other.

    What the run has not logged is left out, unless it is named. The total loss is drawn only where it is the only one.

    Args:
        work_dir: As in :func:`read_curves`.
        out: File for the picture; its suffix says of which kind (``.png``, ``.svg``, ``.pdf``).
        scores: Which figures of the validation to draw; by default those of :data:`SCORES` that there are.

    Raises:
        FileNotFoundError: If there are no logs.
        OSError: If the file cannot be written.
        ValueError: If the logs cannot be read, nothing to draw is in them, a score is not among them, or the file's
            suffix is of no kind of picture.
    """
    check_writable(out)
    if Path(out).suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(f'{out}: name a file that ends with .png, .svg or .pdf')
    curves = read_curves(work_dir)
    for name in scores or ():
        if name not in curves:
            close = closest(name, curves)
            hint = f'did you mean {close!r}?' if close else f'there are {", ".join(sorted(curves))}'
            raise ValueError(f'{work_dir}: has logged no {shown(name)}; {hint}')
    losses = [name for name in curves if name.rpartition('.')[2].startswith('loss')]
    losses = [name for name in losses if name != 'loss'] or losses
    rates = [name for name in curves if name in ('lr', 'base_lr')]
    if len(rates) == 2 and curves['lr'] == curves['base_lr']:
        rates = ['lr']
    drawn: dict[str, list[str]] = {
        'loss': losses,
        'learning rate': rates,
        'score (%)': [name for name in scores or SCORES if name in curves],
    }
    drawn = {title: names for title, names in drawn.items() if names}

    figure = Figure(figsize=(8, 2.7 * len(drawn)), dpi=120, layout='constrained')
    axes = figure.subplots(len(drawn), sharex=True, squeeze=False)[:, 0]
    for axis, title in zip(axes, drawn, strict=True):
        for name in drawn[title]:
            steps, values = [step for step, _ in curves[name]], [value for _, value in curves[name]]
            axis.plot(steps, values, label=name, marker='o' if len(steps) <= 40 else None, markersize=3, linewidth=1.3)
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        axis.legend(loc='best')
    axes[0].set_title(Path(work_dir).resolve().name)
    axes[-1].set_xlabel('iterations')
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_write(out) as temporary:
        figure.savefig(temporary, format=Path(out).suffix[1:])


def read_curves(work_dir: str | Path) -> Curves:
    """Read what a run has logged, all its starts joined.

    Where a later start did iterations again, because it went on from an earlier checkpoint or began anew, its figures
    take the place of the old ones, of these iterations and of those after them.

    Args:
        work_dir: Work directory of a run, with a folder for each start, or the folder of one start.

    Returns:
        The curves of all numbers that the logs have.

    Raises:
        FileNotFoundError: If there are no logs.
        ValueError: If a line of a log cannot be read.
    """
    records: list[dict[str, Any]] = []
    for _, first, new in training_starts(work_dir):
        records = [record for record in records if record['step'] < first] + new
    curves: Curves = {}
    for record in records:
        for name, value in record.items():
            if name != 'step' and isinstance(value, int | float):
                curves.setdefault(name, []).append((record['step'], float(value)))
    return curves


def training_starts(work_dir: str | Path) -> list[tuple[Path, int, list[dict[str, Any]]]]:
    """The starts of a training, the first one first: folder of its logs, first iteration that it logged, and its logs.

    What an earlier start has from that iteration on is no part of the training: the later one did it again.

    Args:
        work_dir: As in :func:`read_curves`.

    Raises:
        FileNotFoundError: If there are no logs.
        ValueError: If a line of a log cannot be read, or no training has logged anything.
    """
    folder, log = Path(work_dir), 'vis_data/scalars.json'
    paths = sorted(folder.glob(f'*/{log}')) or sorted(folder.glob(log))
    if not paths:
        what = f'no */{log} in it' if folder.is_dir() else 'no such folder'
        raise FileNotFoundError(
            f'{work_dir}: {what}; name the work directory of a training that logs with LocalVisBackend'
        )
    starts = []
    for path in paths:
        records = _read_records(path)
        # Else it only scored, under a step that is none of the training's.
        if any(isinstance(record.get('loss'), int | float) for record in records):
            starts.append((path.parent, min(record['step'] for record in records), records))
    if not starts:
        raise ValueError(f'{work_dir}: no training has logged anything yet in {", ".join(str(path) for path in paths)}')
    return starts


def _read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a log. A last line that is cut off, as in a run that was killed, is left out."""
    records = []
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line, f'{path}, line {number}')
            if not isinstance(record, dict) or not _is_step(record.get('step')):
                raise ValueError('no step')
            if not all(map(_is_value, record.values())):
                raise ValueError('a number that is too large')
            records.append(record)
        except ValueError as error:
            if number == len(lines) and not line.endswith(b'\n'):
                break
            raise ValueError(
                f'{path}: line {number} is not a JSON object with a step, as LocalVisBackend writes them: '
                f'{shown(line.decode(errors="replace"))}'
            ) from error
    return records


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 53


def _is_value(value: Any) -> bool:
    """Whether a value is no number that cannot be drawn: those of Python may be larger than any that can."""
    return not isinstance(value, int) or abs(value) < 1 << 53
