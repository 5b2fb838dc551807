"""The report as one HTML page that needs no other file and no network: a pure function of the report."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation.confusion import false_negative_rate, false_positive_rate, iou_per_class
from .charts import (
    NO_VALUE,
    bar,
    bar_axis,
    best_point,
    confusion_table,
    legend,
    nice_limit,
    percent,
    swatch,
    threshold_chart,
)
from .document import figure_list, render_page, write_page
from .label_report import ImageFigures, LabelReport, Tile
from .markup import Markup, element, joined
from .run_page import run_sections
from .run_report import RunReport

STEP = 24
"""Images that are shown at once; a button shows as many more."""

_TILE = 118  # width in CSS pixels that a thumbnail has at least on a wide screen
_UNKNOWN_COLOUR = (255, 255, 255)  # colour_labels' default
_SETTINGS_SHOWN = ('tool', 'version', 'checkpoint_sha256', 'cam_stride')


def write_label_report(path: str | os.PathLike[str], report: LabelReport, run: RunReport | None = None) -> None:
    """Write the page, see :func:`render_label_report`; it appears complete or not at all."""
    write_page(path, render_label_report(report, run))


def render_label_report(report: LabelReport, run: RunReport | None = None) -> str:
    """The page as text: of a folder of label maps and, if it is given, of the training that they come from."""
    sections = [section(report) for section in (_header, _classes, _curve, _confusion, _images, _settings)]
    return render_page(report.title, [*sections, *(run_sections(run) if run else ())])


def _header(report: LabelReport) -> Markup:
    what = 'Label maps' if report.source == 'label maps' else 'Label maps that are the argmax of CAM files'
    if report.scores is None:
        against = 'No masks to score against: statistics of the labels, and pictures.'
    else:
        unknown = 'left out of the scores' if report.scores.ignore_unknown else 'counted as wrong'
        against = (
            'All pixels of all images count into one confusion matrix; void pixels of the ground truth are left out, '
            f'unknown pixels (255) are {unknown}.'
        )
    return element(
        'header',
        element('h1', report.title),
        element(
            'p', f'{what} of {report.num_images:,} images, {len(report.classes)} classes. {against}', class_='note'
        ),
        figure_list(_figures(report)),
    )


def _figures(report: LabelReport) -> list[tuple[str, str, str]]:
    """Name, value and explanation of the figures at the top."""
    images = ('images', f'{report.num_images:,}', 'all of the split')
    pixels = int(report.pixels.sum())
    if report.scores is None:
        return [
            ('foreground', percent(_share(report.pixels[1:-1].sum(), pixels), 2), 'of all pixels'),
            ('unknown', percent(_share(report.pixels[-1], pixels), 2), 'of all pixels (255)'),
            ('classes', f'{int((report.images[1:-1] > 0).sum())}', f'of {len(report.classes) - 1} found in the labels'),
            images,
        ]
    figures = report.scores.figures()
    return [
        ('mIoU', percent(figures['mIoU'], 2), 'mean of all classes, background included'),
        ('FP', percent(figures['FP'], 2), 'over-activation, mean of the foreground classes'),
        ('FN', percent(figures['FN'], 2), 'under-activation, mean of the foreground classes'),
        ('unknown', percent(figures['unknown'], 2), 'of the pixels that are not void'),
        images,
    ]


# Classes --------------------------------------------------------------------------------------------------------------


def _classes(report: LabelReport) -> Markup:
    if report.scores is None or report.true_images is None:
        return _labelled_classes(report)
    return _scored_classes(report, report.scores.scored, report.true_images)


def _scored_classes(report: LabelReport, confusion: npt.NDArray[Any], true_images: npt.NDArray[Any]) -> Markup:
    measures = (iou_per_class, false_positive_rate, false_negative_rate)
    columns = np.transpose([100 * measure(confusion) for measure in measures]).tolist()
    shares = 100 * report.pixels / max(1, report.pixels.sum())
    rows = []
    for index, (iou, over, under) in enumerate(columns):
        there = not math.isnan(iou)
        rows.append(
            element(
                'tr',
                element('th', _class_link(report, index), scope='row'),
                _number(iou if there else None),
                element(
                    'td',
                    bar([('IoU', 'iou', iou), ('FP', 'fp', over), ('FN', 'fn', under)]) if there else None,
                    class_='bars',
                ),
                _number(over if there else None),
                _number(under if there else None),
                _count(int(true_images[index])),
                _count(int(report.images[index])),
                _number(float(shares[index]), 2),
            )
        )
    keys = (('iou', 'IoU: right'), ('fp', 'FP: claimed wrongly'), ('fn', 'FN: missed'))
    head = (
        element('th', 'class', scope='col'),
        _sortable('IoU, %'),
        element('th', 'of the union of true and labelled pixels, %', bar_axis(), scope='col', class_='bars'),
        _sortable('FP, %'),
        _sortable('FN, %'),
        _sortable('images, true'),
        _sortable('images, labelled'),
        _sortable('labelled pixels, %'),
    )
    return element(
        'section',
        element('h2', 'Classes'),
        element('ul', *(element('li', element('i', class_=f'swatch {c}'), name) for c, name in keys), class_='legend'),
        _class_table(head, rows),
        element(
            'p',
            'The three shares of a class sum to 100 % of the union of its true and its labelled pixels. The name of a '
            'class leads to its images. A dash: neither masks nor label maps have the class.',
            class_='note',
        ),
    )


def _labelled_classes(report: LabelReport) -> Markup:
    total = int(report.pixels.sum())
    shares = [100 * int(count) / max(1, total) for count in report.pixels]
    limit = nice_limit(max(shares[1:-1], default=0.0))
    rows = []
    for index, name in enumerate([*report.classes, 'unknown (255)']):
        foreground = 0 < index < len(report.classes)
        rows.append(
            element(
                'tr',
                element('th', _class_link(report, index) if index < len(report.classes) else name, scope='row'),
                _number(shares[index], 2),
                element('td', bar([(name, 'share', shares[index])], limit) if foreground else None, class_='bars'),
                _count(int(report.pixels[index])),
                _count(int(report.images[index])),
            )
        )
    head = (
        element('th', 'class', scope='col'),
        _sortable('labelled pixels, %'),
        element('th', 'foreground classes, % of all pixels', bar_axis(limit), scope='col', class_='bars'),
        _sortable('pixels'),
        _sortable('images'),
    )
    return element('section', element('h2', 'Classes'), _class_table(head, rows))


def _class_table(head: Iterable[Markup], rows: Iterable[Markup]) -> Markup:
    table = element('table', element('thead', element('tr', *head)), element('tbody', *rows), class_='classes sortable')
    return element('div', table, class_='scroll', tabindex='0', role='group', aria_label='Classes')


def _class_link(report: LabelReport, index: int) -> Markup:
    """Name and colour of a class; that of a foreground class which images show leads to them."""
    name = joined(swatch(report.palette[index]), report.classes[index])
    shown = any(index in figures.classes for figures, _ in report.shown)
    return element('a', name, href='#images', data_class=index) if shown else name


def _sortable(name: str) -> Markup:
    return element('th', element('button', name, type='button'), scope='col', class_='number')


def _number(value: float | None, digits: int = 1) -> Markup:
    text = NO_VALUE if value is None else f'{value:.{digits}f}'
    return element('td', text, data_value=None if value is None else f'{value:.6f}')


def _count(number: int) -> Markup:
    return element('td', f'{number:,}', data_value=number)


# Threshold curve and confusion ----------------------------------------------------------------------------------------


def _curve(report: LabelReport) -> Markup | None:
    if report.curve is None or report.scores is None:
        return None
    thresholds, miou = report.curve.thresholds, report.scores.figures()['mIoU']
    values = [None if math.isnan(value) else 100 * value for value in report.curve.miou().tolist()]
    best = best_point(thresholds, values)
    keys = [element('li', element('i', class_='key'), 'foreground of IS-CAM above the threshold')]
    if best is not None:
        text = f'best: {percent(best[1], 2)} at {best[0]:.2f}, picked on the ground truth'
        keys.append(element('li', element('i', class_='key best'), text))
    if miou is not None:
        keys.append(
            element('li', element('i', class_='key argmax'), f'the label maps of this report: {percent(miou, 2)}')
        )
    return element(
        'section',
        element('h2', 'mIoU over the threshold'),
        element(
            'p',
            'A pixel gets the strongest foreground class of IS-CAM if that exceeds the threshold, else background; '
            "IS-CAM's own background map is not used. ",
            element('strong', 'The best point is picked on the ground truth that it is scored on'),
            ': an upper bound, not a result.',
        ),
        element('ul', *keys, class_='legend'),
        threshold_chart(thresholds, values, miou),
        _curve_values(thresholds, values),
    )


def _curve_values(thresholds: Sequence[float], miou: Sequence[float | None]) -> Markup:
    points = zip(thresholds, miou, strict=True)
    rows = [element('tr', element('th', f'{t:g}', scope='row'), _number(m, 2)) for t, m in points]
    head = element('tr', element('th', 'threshold', scope='col'), element('th', 'mIoU, %', scope='col'))
    table = element('table', element('thead', head), element('tbody', *rows), class_='values')
    return element('details', element('summary', 'Values'), table)


def _confusion(report: LabelReport) -> Markup | None:
    if report.scores is None:
        return None
    return element(
        'section',
        element('h2', 'Confusion matrix'),
        element(
            'p',
            'Shares of the pixels of a true class in %, every row sums to 100. Point at a cell for its pixels.',
            class_='note',
        ),
        confusion_table(report.scores.confusion, report.classes),
    )


# Images ---------------------------------------------------------------------------------------------------------------


def _images(report: LabelReport) -> Markup:
    scored = report.scores is not None
    orders = (
        [('ascending', 'worst first'), ('descending', 'best first')]
        if scored
        else [
            ('name', 'by name'),
            ('descending', 'largest share first'),
            ('ascending', 'smallest share first'),
        ]
    )
    orders += [('unknown', 'most unknown pixels first')] + ([('name', 'by name')] if scored else [])
    number = {
        index: sum(index in figures.classes for figures, _ in report.shown) for index in range(1, len(report.classes))
    }
    options = [
        element('option', f'{report.classes[index]} ({count})', value=index) for index, count in number.items() if count
    ]
    if scored:
        what = (
            "An image's mIoU is the mean over the classes that its mask or its label map has, background included. "
            'With a class chosen, the images that have it in either are ordered by its IoU.'
        )
    else:
        what = (
            'The share is that of foreground pixels; with a class chosen, the images whose label map has it are '
            'ordered by its share.'
        )
    if any(tile.caption == 'IS-CAM' for _, tiles in report.shown for tile in tiles):
        what += ' IS-CAM is that of the strongest class in each pixel: dark blue is 0, dark red 1.'
    classes = list(zip(report.classes, report.palette, strict=True))
    return element(
        'section',
        element('h2', 'Images'),
        element('p', f'{report.selection} {what}', class_='note'),
        element(
            'div',
            element('label', 'Class ', element('select', element('option', 'all', value=''), *options, id='class')),
            element(
                'label', 'Order ', element('select', *(element('option', t, value=v) for v, t in orders), id='order')
            ),
            element('span', id='count', role='status'),
            id='controls',
            class_='controls',
            hidden=True,
        ),
        element(
            'noscript',
            element(
                'p', f'Without JavaScript the first {STEP} images are shown, and there is no filter.', class_='note'
            ),
        ),
        legend([*classes, ('unknown or void', _UNKNOWN_COLOUR)]),
        element(
            'ul',
            *(
                _card(report, figures, tiles, visible=place < STEP)
                for place, (figures, tiles) in enumerate(report.shown)
            ),
            id='gallery',
            class_='gallery',
            data_step=STEP,
            style=f'--card:{_TILE * max((len(tiles) for _, tiles in report.shown), default=1)}px',
        ),
        element(
            'div',
            element('button', f'Show {STEP} more', type='button', id='more', hidden=True),
            element('button', 'Show all', type='button', id='all', hidden=True),
            class_='buttons',
        ),
        id='images',
    )


def _card(report: LabelReport, figures: ImageFigures, tiles: Iterable[Tile], visible: bool) -> Markup:
    scored = report.scores is not None
    score = f'{"mIoU" if scored else "foreground"} {percent(figures.score)}'
    unknown = f', unknown {percent(figures.unknown)}' if report.pixels[-1] else ''
    classes = [
        element('li', swatch(report.palette[index]), f'{report.classes[index]} {percent(value)}')
        for index, value in figures.classes.items()
    ]
    return element(
        'li',
        element('h3', figures.image_id),
        element('p', f'{score}{unknown}'),
        element('div', *(_tile(tile, figures.image_id, visible) for tile in tiles), class_='tiles'),
        element('ul', *classes, class_='legend', aria_label='IoU by class' if scored else 'share of pixels by class'),
        data_id=figures.image_id,
        data_score=None if figures.score is None else f'{figures.score:.6f}',
        data_unknown=f'{figures.unknown:.6f}',
        data_classes=json.dumps({index: round(value, 6) for index, value in figures.classes.items()}),
        hidden=not visible,
    )


def _tile(tile: Tile, image_id: str, visible: bool) -> Markup:
    source = {'src' if visible else 'data_src': tile.uri}
    picture = element(
        'img',
        alt=f'{tile.caption} of {image_id}',
        width=tile.width,
        height=tile.height,
        decoding='async',
        class_='labels' if tile.is_label_map else None,
        **source,
    )
    return element('figure', picture, element('figcaption', tile.caption))


# Settings -------------------------------------------------------------------------------------------------------------


def _settings(report: LabelReport) -> Markup:
    if report.settings is None:
        content: tuple[Markup, ...] = (element('p', 'The folder has no settings.json.', class_='note'),)
    else:
        text = json.dumps(report.settings, indent=2, ensure_ascii=False)
        content = (
            element('dl', *(part for pair in _main_settings(report.settings) for part in pair)),
            element('details', element('summary', 'All settings (settings.json)'), element('pre', text)),
        )
    return element('section', element('h2', 'Settings of the folder'), *content, class_='settings')


def _main_settings(settings: Mapping[str, Any]) -> Iterable[tuple[Markup, Markup]]:
    """What made the folder, as far as its settings say so in the words of our tools."""
    found = {key: settings[key] for key in _SETTINGS_SHOWN if key in settings}
    found |= {key: settings[key]['type'] for key in ('model', 'tta_model', 'dataset') if _has_type(settings.get(key))}
    for key, value in found.items():
        yield element('dt', key), element('dd', value)


def _has_type(part: Any) -> bool:
    return isinstance(part, Mapping) and 'type' in part


def _share(part: Any, whole: int) -> float | None:
    return 100 * int(part) / whole if whole else None
