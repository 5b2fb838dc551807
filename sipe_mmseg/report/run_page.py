"""A training as sections of an HTML page: a pure function of its report."""

import math
import os

from ..visualization.curves import Curves
from .charts import MAX_LINES, line_chart, percent
from .document import figure_list, render_page, write_page
from .markup import Markup, element
from .run_report import RunReport

SCORES = ('mIoU', 'cam_mIoU@0.15', 'mAP')
"""Scores of the validation that are drawn."""


def write_run_report(path: str | os.PathLike[str], run: RunReport) -> None:
    """Write the page of a training; it appears complete or not at all."""
    write_page(path, render_page(run.title, [element('header', element('h1', run.title)), *run_sections(run)]))


def run_sections(run: RunReport) -> list[Markup | None]:
    """Figures, curves, pictures of the growing maps, and the config."""
    return [_training(run), _growth(run), _config(run)]


def _training(run: RunReport) -> Markup:
    losses = [name for name in run.curves if name.rpartition('.')[2].startswith('loss')]
    losses = ([name for name in losses if name != 'loss'] or losses)[:MAX_LINES]
    drawn = (
        ('loss', losses),
        ('learning rate', [name for name in ('lr',) if name in run.curves]),
        ('score, %', [name for name in SCORES if name in run.curves]),
    )
    charts = [
        element('div', line_chart({name: run.curves[name] for name in names}, title)) for title, names in drawn if names
    ]
    return element(
        'section',
        element('h2', 'Training'),
        element('p', f'{run.title}: what was logged, resumed starts joined.', class_='note'),
        figure_list(_figures(run.curves)),
        element('div', *charts, class_='charts'),
        _validations(run.curves),
    )


def _figures(curves: Curves) -> list[tuple[str, str, str]]:
    done = max(step for points in curves.values() for step, _ in points)
    figures = [('iterations', f'{done:,}', 'done')]
    for name in SCORES:
        if name in curves:
            step, value = curves[name][-1]
            figures.append((name, percent(value if math.isfinite(value) else None, 2), f'after {step:,} iterations'))
    for name in ('loss_cls', 'loss_gsc'):
        key = next((key for key in curves if key.rpartition('.')[2] == name), None)
        if key is not None:
            figures.append((name, f'{curves[key][-1][1]:.4f}', 'at the end'))
    return figures


def _validations(curves: Curves) -> Markup | None:
    """A table of all scores of all validations."""
    if 'mIoU' not in curves:
        return None
    steps = [step for step, _ in curves['mIoU']]
    names = [name for name, points in curves.items() if [step for step, _ in points] == steps]
    columns = [dict(curves[name]) for name in names]
    head = element('tr', *(element('th', name, scope='col') for name in ('iterations', *names)))
    rows = [
        element('tr', element('th', f'{step:,}', scope='row'), *(element('td', f'{c[step]:.4g}') for c in columns))
        for step in steps
    ]
    table = element('table', element('thead', head), element('tbody', *rows), class_='values')
    return element(
        'details', element('summary', 'All scores of all validations'), element('div', table, class_='scroll')
    )


def _growth(run: RunReport) -> Markup | None:
    if not run.pictures and not run.unreadable:
        return None
    rows = []
    if run.unreadable:
        files = '1 picture is' if run.unreadable == 1 else f'{run.unreadable} pictures are'
        rows.append(element('p', f'{files} left out: the files are cut short or damaged.', class_='note'))
    for name, pictures in run.pictures.items():
        figures = [
            element(
                'figure',
                element('figcaption', f'after {step:,} iterations'),
                element(
                    'img',
                    src=tile.uri,
                    alt=f'maps of {name} after {step} iterations',
                    width=tile.width,
                    height=tile.height,
                    decoding='async',
                ),
            )
            for step, tile in pictures
        ]
        rows.append(element('div', element('h3', name), *figures, class_='growth'))
    return element('section', element('h2', 'The maps grow'), *rows)


def _config(run: RunReport) -> Markup | None:
    if run.config is None:
        return None
    return element('details', element('summary', 'Config of the training'), element('pre', run.config))
