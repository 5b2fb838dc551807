"""Drawings of a report as HTML and SVG: pure functions, numbers in, markup out. Colours are those of ``page.css``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .markup import Markup, element, joined

NO_VALUE = '\N{EN DASH}'
"""What stands in place of a figure that there is none of."""

# Units of the drawing: it is shown about this wide on a phone, where its letters are 12 pixels high.
_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 26, 40


def percent(value: float | None, digits: int = 1) -> str:
    """A percentage for people; a dash for None."""
    return NO_VALUE if value is None else f'{value:.{digits}f} %'


def nice_limit(value: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, 50, 100 that is not below a percentage: where an axis ends."""
    return next(limit for limit in (1, 2, 5, 10, 20, 50, 100) if value <= limit or limit == 100)


def bar(parts: Sequence[tuple[str, str, float]], limit: float = 100) -> Markup:
    """A horizontal bar of parts one after the other.

    Args:
        parts: Name of the part for people, CSS class of its colour, and length in %.
        limit: Length at which the bar is full.
    """
    pieces = [
        element('i', class_=colour, style=f'width:{100 * length / limit:.2f}%', title=f'{name} {percent(length)}')
        for name, colour, length in parts
    ]
    text = ', '.join(f'{name} {percent(length)}' for name, _, length in parts)
    return element('div', *pieces, class_='bar', role='img', aria_label=text)


def bar_axis(limit: float = 100, steps: int = 4) -> Markup:
    """The axis above a column of bars, in %."""
    marks = [limit * step / steps for step in range(steps + 1)]
    return element('div', *(element('span', f'{mark:g}') for mark in marks), class_='axis', aria_hidden='true')


def threshold_chart(thresholds: Sequence[float], miou: Sequence[float | None], argmax_miou: float | None) -> Markup:
    """mIoU over the threshold as an SVG, the best point marked, the argmax of the maps as a dashed line.

    Args:
        thresholds: Ascending, in [0, 1].
        miou: mIoU in % at each of them; None where there is none.
        argmax_miou: mIoU in % without a threshold, or None.
    """
    points = [(t, m) for t, m in zip(thresholds, miou, strict=True) if m is not None]
    shown = [m for _, m in points] + ([] if argmax_miou is None else [argmax_miou])
    limit = 100 if not shown else min(100, 20 * int(np.floor(max(shown) / 20) + 1))

    def x(threshold: float) -> float:
        return round(_LEFT + threshold * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / limit * (_HEIGHT - _TOP - _BOTTOM), 1)

    drawn = []
    for value in range(0, limit + 1, 20 if limit > 40 else 10):
        drawn.append(element('line', class_='grid', x1=x(0), x2=x(1), y1=y(value), y2=y(value)))
        drawn.append(element('text', value, x=_LEFT - 6, y=y(value) + 4, text_anchor='end'))
    for step in range(6):
        drawn.append(element('text', f'{step / 5:g}', x=x(step / 5), y=_HEIGHT - _BOTTOM + 16, text_anchor='middle'))
        drawn.append(element('line', class_='tick', x1=x(step / 5), x2=x(step / 5), y1=y(0), y2=y(0) + 4))
    drawn.append(element('line', class_='tick', x1=x(0), x2=x(1), y1=y(0), y2=y(0)))
    drawn.append(element('text', 'mIoU, %', x=4, y=14))
    drawn.append(element('text', 'threshold', x=x(0.5), y=_HEIGHT - 6, text_anchor='middle'))
    if argmax_miou is not None:
        drawn.append(element('line', class_='argmax', x1=x(0), x2=x(1), y1=y(argmax_miou), y2=y(argmax_miou)))
    if points:
        path = ' '.join(f'{x(t)},{y(m)}' for t, m in points)
        drawn.append(element('polyline', class_='curve', points=path))
        best = best_point(thresholds, miou)
        if best is not None:
            drawn.append(element('circle', class_='best', cx=x(best[0]), cy=y(best[1]), r=5))
    label = 'mIoU in percent over the threshold; the values are in the table below'
    return element('svg', *drawn, viewBox=f'0 0 {_WIDTH} {_HEIGHT}', role='img', aria_label=label, class_='chart')


_SERIES = ('first', 'second', 'third', 'fourth')  # CSS classes of the lines
MAX_LINES = len(_SERIES)
"""Most lines that a chart draws."""

_POINTS = 300


def line_chart(series: Mapping[str, Sequence[tuple[int, float]]], label: str) -> Markup:
    """Numbers over iterations as an SVG of up to four lines, with their names below it. The axis begins at 0.

    Args:
        series: Of each line its points (iterations, value). Of more than 300 points as many are drawn.
        label: What the values are.

    Raises:
        ValueError: If there are more than four lines, or no point.
    """
    if not 1 <= len(series) <= MAX_LINES or not all(series.values()):
        raise ValueError(f'{label}: needs one to {MAX_LINES} lines of at least one point')
    last = max(step for points in series.values() for step, _ in points) or 1
    values = [value for points in series.values() for _, value in points if math.isfinite(value)]
    limit = _axis_end(max(values, default=1.0))

    def x(step: float) -> float:
        return round(_LEFT + step / last * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / limit * (_HEIGHT - _TOP - _BOTTOM), 1)

    drawn = []
    for value in (limit * part / 4 for part in range(5)):
        drawn.append(element('line', class_='grid', x1=x(0), x2=x(last), y1=y(value), y2=y(value)))
        drawn.append(element('text', f'{value:.3g}', x=_LEFT - 6, y=y(value) + 4, text_anchor='end'))
    for step, anchor in ((0, 'start'), (last // 2, 'middle'), (last, 'end')):
        drawn.append(element('text', f'{step:,}', x=x(step), y=_HEIGHT - _BOTTOM + 16, text_anchor=anchor))
    drawn.append(element('text', label, x=4, y=14))
    drawn.append(element('text', 'iterations', x=x(last / 2), y=_HEIGHT - 6, text_anchor='middle'))
    for line, points in zip(_SERIES, series.values(), strict=False):
        shown = [point for point in _thinned(points) if math.isfinite(point[1])]
        drawn.append(
            element(
                'polyline', class_=f'curve {line}', points=' '.join(f'{x(step)},{y(max(0, v))}' for step, v in shown)
            )
        )
        if len(shown) <= 30:
            drawn += [element('circle', class_=line, cx=x(step), cy=y(max(0, v)), r=3) for step, v in shown]
    keys = [
        element('li', element('i', class_=f'key {line}'), name) for line, name in zip(_SERIES, series, strict=False)
    ]
    svg = element(
        'svg',
        *drawn,
        viewBox=f'0 0 {_WIDTH} {_HEIGHT}',
        role='img',
        aria_label=f'{label} over iterations',
        class_='chart',
    )
    return joined(svg, element('ul', *keys, class_='legend'))


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """At most so many points as are drawn, the first and the last among them."""
    if len(points) <= _POINTS:
        return points
    return [points[round(place * (len(points) - 1) / (_POINTS - 1))] for place in range(_POINTS)]


def _axis_end(value: float) -> float:
    """The smallest number 1, 2, 4, 6, 8 or 10 times a power of ten that is not below a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10, 20) if value <= step * power * (1 + 1e-9))


def best_point(thresholds: Sequence[float], miou: Sequence[float | None]) -> tuple[float, float] | None:
    """Threshold and mIoU of the highest point, the first of equal ones; None if there is none."""
    points = [(t, m) for t, m in zip(thresholds, miou, strict=True) if m is not None]
    return max(points, key=lambda point: point[1]) if points else None


def confusion_table(confusion: npt.NDArray[Any], classes: Sequence[str]) -> Markup:
    """A confusion matrix as a table of shares of each row.

    Args:
        confusion: Pixels (C, C + 1), rows are true classes; the last column is unknown, and left out where it is empty.
        classes: Names of the C classes.
    """
    names = [*classes, 'unknown']
    columns = [*range(len(classes)), *([len(classes)] if confusion[:, -1].any() else [])]
    corner = element('th', 'true class ↓', element('br'), 'labelled as →', scope='col')
    head = [element('th', element('span', names[column]), scope='col') for column in columns]
    rows = []
    for true, row in enumerate(confusion):
        total = int(row.sum())
        cells = [_confusion_cell(names, true, column, int(row[column]), total) for column in columns]
        rows.append(element('tr', element('th', names[true], scope='row'), *cells))
    table = element(
        'table', element('thead', element('tr', corner, *head)), element('tbody', *rows), class_='confusion'
    )
    return element('div', table, class_='scroll', tabindex='0', role='group', aria_label='Confusion matrix')


def _confusion_cell(names: Sequence[str], true: int, column: int, pixels: int, total: int) -> Markup:
    if not pixels:
        return element('td')
    share = pixels / total
    return element(
        'td',
        f'{100 * share:.0f}' if share >= 0.005 else '<1',
        class_='hit' if true == column else 'miss',
        style=f'--share:{share:.3f}',
        title=f'{names[true]} labelled as {names[column]}: {pixels:,} pixels, {100 * share:.2f} % of {names[true]}',
    )


def swatch(colour: Sequence[int]) -> Markup:
    """A small square of an RGB colour."""
    red, green, blue = (int(channel) for channel in colour)
    return element('i', class_='swatch', style=f'background:rgb({red} {green} {blue})')


def legend(entries: Sequence[tuple[str, Sequence[int]]]) -> Markup:
    """Names of classes with the colours that pictures show them in."""
    items = [element('li', swatch(colour), name) for name, colour in entries]
    return element('ul', joined(*items), class_='legend')
