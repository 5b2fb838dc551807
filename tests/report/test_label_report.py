"""The report of a small set whose names are as nasty as a file system allows, read with a parser and with a browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets import ImageLevelDataset
from sipe_mmseg.datasets.cam_files import read_cam, resize_cam, write_cam
from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.result_folder import ResultFolder
from sipe_mmseg.datasets.shapes import draw_picture
from sipe_mmseg.evaluation.label_scores import score_labels
from sipe_mmseg.evaluation.threshold_curve import ThresholdCurve
from sipe_mmseg.report import LabelReport, collect_label_report, render_label_report, write_label_report
from sipe_mmseg.report.charts import NO_VALUE
from sipe_mmseg.report.collection import select_images
from sipe_mmseg.report.label_report import ImageFigures, Tile
from sipe_mmseg.report.thumbnails import image_thumbnail, image_uri, label_thumbnail, labels_uri

CLASSES = ('background', 'cat', '<script>alert(1)</script>', 'b"i&r\'d', 'unicorn')  # no unicorn is there or claimed
IDS = [f'{index:02}' for index in range(28)] + ['more/<img src=x onerror=alert(2)>', 'more/z" onload="alert(3)']
SIZE = (24, 36)
SETTINGS = {'tool': 'generate_labels', 'version': '1', 'model': {'type': '</pre><script>alert(4)</script>'}}


class Page(HTMLParser):
    """Elements of a page, as (tag, attributes, the text in them)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, [name for name, _, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f'{tag} has an attribute twice: {attrs}'
        self.elements.append((tag, dict(attrs), []))
        if tag not in ('meta', 'img', 'br'):
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._open:
            texts.append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of the elements of a tag that have these attributes (class_ has one of its words)."""
        found = []
        for name, attrs, texts in self.elements:
            fits = all(value in (attrs.get(key.rstrip('_')) or '').split() for key, value in attributes.items())
            if name == tag and fits:
                found.append((attrs, ''.join(texts)))
        return found


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('set')
    rng = np.random.default_rng(0)
    cams = ResultFolder(root / 'cams', '.npz')
    for folder in ('labels', 'cams'):
        ResultFolder(root / folder, '.png').start(SETTINGS)
    for number, name in enumerate(IDS):
        (root / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(root / 'images' / f'{name}.png')
        truth = rng.choice([0, 0, 0, 1, 2, 3, 255] if number % 3 else [0, 1, 255], SIZE)
        labels = np.where(rng.random(SIZE) < rng.random(), truth, rng.choice([0, 0, 1, 3, 255], SIZE))
        write_label_png(root / 'masks' / f'{name}.png', truth, voc_palette(5))
        write_label_png(root / 'labels' / f'{name}.png', labels, voc_palette(5))
        classes = np.array([] if number == 4 else [1, 3], np.int64)
        maps = rng.random((len(classes) + 1, *(side // 4 for side in SIZE)))
        write_cam(cams.path(name), classes, maps, SIZE, cams.digest())
    return root


def dataset(root: Path, images: str = 'images', **prefixes: str) -> ImageLevelDataset:
    return ImageLevelDataset(
        data_root=str(root),
        metainfo=dict(classes=CLASSES),
        data_prefix=dict(img_path=images, **prefixes),
        test_mode=True,
        on_unlabelled='keep',
        pipeline=[],
    )


@pytest.fixture(scope='module')
def with_masks(root: Path) -> ImageLevelDataset:
    return dataset(root, seg_map_path='masks')


@pytest.fixture(scope='module')
def without_masks(root: Path) -> ImageLevelDataset:
    return dataset(root)


@pytest.fixture(scope='module')
def report(root: Path, with_masks: ImageLevelDataset) -> LabelReport:
    return collect_label_report(with_masks, root / 'labels', cam_dir=root / 'cams', title='<i>title</i>', threads=3)


@pytest.fixture(scope='module')
def page(report: LabelReport) -> Page:
    return Page(render_label_report(report))


def pixels(root: Path, folder: str, name: str) -> np.ndarray:
    return np.array(Image.open(root / folder / f'{name}.png'))


def plain_iou(labels: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    """IoU in % of the classes that are there, one set of pixels after the other."""
    known = truth != 255
    labels, truth = labels[known], truth[known]
    there = sorted(({*labels.tolist()} | {*truth.tolist()}) - {255})
    iou = {}
    for key in there:
        claimed, true = labels == key, truth == key
        iou[key] = 100 * (claimed & true).sum() / (claimed | true).sum()
    return iou


# What is counted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('ignore_unknown', [False, True])
def test_scores_are_those_of_evaluate_labels(root: Path, with_masks: ImageLevelDataset, ignore_unknown: bool) -> None:
    report = collect_label_report(with_masks, root / 'labels', ignore_unknown=ignore_unknown)
    expected = score_labels(with_masks, root / 'labels', ignore_unknown=ignore_unknown)
    assert report.scores is not None
    assert report.scores.figures() == expected.figures()
    page = Page(render_label_report(report))
    shown = {text: value for (_, text), (_, value) in zip(page.all('dt'), page.all('dd', class_='value'), strict=False)}
    figures = expected.figures()
    assert shown == {key: f'{figures[key]:.2f} %' for key in ('mIoU', 'FP', 'FN', 'unknown')} | {'images': '30'}
    table = page.all('table', class_='classes')
    assert len(table) == 1
    for name, iou in figures['IoU'].items():
        assert (f'{name}{NO_VALUE}' if iou is None else f'{name}{iou:.1f}'[:-2]) in table[0][1]
    assert ('left out of the scores' in page.all('p')[0][1]) == ignore_unknown


def test_figures_of_each_image(root: Path, report: LabelReport) -> None:
    assert {figures.image_id for figures, _ in report.shown} == set(IDS)
    for figures, tiles in report.shown:
        labels, truth = pixels(root, 'labels', figures.image_id), pixels(root, 'masks', figures.image_id)
        iou = plain_iou(labels, truth)
        assert figures.score == pytest.approx(np.mean(list(iou.values())))
        assert figures.classes == pytest.approx({key: value for key, value in iou.items() if key})
        assert figures.unknown == pytest.approx(100 * np.mean(labels == 255))
        assert [tile.caption for tile in tiles] == ['image', 'IS-CAM', 'label map', 'ground truth']
    scores = [figures.score for figures, _ in report.shown]
    assert scores == sorted(scores)
    assert 'dark blue is 0, dark red 1' in render_label_report(report)


def test_statistics_of_the_labels(root: Path, report: LabelReport) -> None:
    labels = {name: pixels(root, 'labels', name) for name in IDS}
    for index in range(6):
        value = index if index < 5 else 255
        assert report.pixels[index] == sum((each == value).sum() for each in labels.values())
        assert report.images[index] == sum((each == value).any() for each in labels.values())
    assert report.true_images is not None
    assert report.true_images[2] == sum((pixels(root, 'masks', name) == 2).any() for name in IDS)


@pytest.mark.parametrize('place', [0, 30, 75, 99])
def test_curve_is_that_of_the_foreground_maps(root: Path, report: LabelReport, place: int) -> None:
    assert report.curve is not None
    threshold = np.float32(report.curve.thresholds[place])
    labels = []
    for name in IDS:
        cam = read_cam(root / 'cams' / f'{name}.npz')
        found = np.zeros(SIZE, np.uint8)
        if len(cam.classes):
            maps = resize_cam(cam.is_cam, SIZE)[1:]
            found = np.where(maps.max(axis=0) > threshold, cam.classes[maps.argmax(axis=0)], 0)
        labels.append(found)
    iou = plain_iou(np.stack(labels), np.stack([pixels(root, 'masks', name) for name in IDS]))
    assert 100 * report.curve.miou()[place] == pytest.approx(np.mean(list(iou.values())))


def test_cam_files_alone(root: Path, with_masks: ImageLevelDataset, report: LabelReport) -> None:
    cams = collect_label_report(with_masks, root / 'cams', cams=True)
    assert cams.scores is not None
    assert cams.scores.figures() == score_labels(with_masks, root / 'cams', cams=True).figures()
    assert cams.curve is not None and report.curve is not None
    assert cams.curve.histogram.equal(report.curve.histogram)
    assert 'argmax of CAM files' in render_label_report(cams)


def test_without_masks(root: Path, without_masks: ImageLevelDataset) -> None:
    report = collect_label_report(without_masks, root / 'labels')
    assert (report.scores, report.curve, report.true_images) == (None, None, None)
    page = Page(render_label_report(report))
    assert [text for _, text in page.all('h2')] == ['Classes', 'Images', 'Settings of the folder']
    text = page.all('body')[0][1]
    assert (
        'No masks to score against' in text and 'dark blue' not in text and 'mIoU' not in text.split("'use strict'")[0]
    )
    rows = [text for _, text in page.all('tr')][1:]
    assert rows[1].startswith(f'cat{100 * report.pixels[1] / report.pixels.sum():.2f}')
    assert rows[-1].endswith(f'{report.pixels[-1]:,}{report.images[-1]:,}') and rows[-1].startswith('unknown (255)')
    for figures, tiles in report.shown:
        labels = pixels(root, 'labels', figures.image_id)
        assert figures.score == pytest.approx(100 * np.mean((labels > 0) & (labels < 255)))
        assert figures.classes == pytest.approx(
            {key: 100 * np.mean(labels == key) for key in {*labels.flat} - {0, 255}}
        )
        assert [tile.caption for tile in tiles] == ['image', 'label map']
    assert [figures.image_id for figures, _ in report.shown] == IDS


def image_figures(*scores: float | None) -> list[ImageFigures]:
    return [ImageFigures(index, f'{index}', score, 0.0, {}) for index, score in enumerate(scores)]


def test_the_worst_and_the_best_images_are_chosen() -> None:
    figures = image_figures(50, 10, None, 90, 30, 70, 20)
    everyone, sentence = select_images(figures, 7, scored=True)
    assert [each.index for each in everyone] == [1, 6, 4, 0, 5, 3, 2] and sentence == 'All 7 images.'
    chosen, sentence = select_images(figures, 3, scored=True)
    assert [each.index for each in chosen] == [1, 6, 3]
    assert sentence == 'The 2 worst and the 1 best of 7 images, by mIoU of the image.'
    chosen, sentence = select_images(figures, 3, scored=False)
    assert [each.index for each in chosen] == [0, 2, 4] and sentence.startswith('3 of 7 images, at equal distances')


def test_more_images_than_are_shown(root: Path, with_masks: ImageLevelDataset, report: LabelReport) -> None:
    done: list[int] = []
    small = collect_label_report(with_masks, root / 'labels', max_images=5, on_images=done.append)
    assert sum(done) == 35
    assert small.scores is not None and report.scores is not None
    assert small.scores.figures() == report.scores.figures(), 'figures are of all images'
    everyone = [figures for figures, _ in report.shown]
    assert [figures for figures, _ in small.shown] == everyone[:3] + everyone[-2:]


def test_mistakes_are_named(
    root: Path, with_masks: ImageLevelDataset, without_masks: ImageLevelDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match='max_images=0: must be at least 1'):
        collect_label_report(with_masks, root / 'labels', max_images=0)
    with pytest.raises(ValueError, match='already holds CAM files'):
        collect_label_report(with_masks, root / 'cams', cams=True, cam_dir=root / 'cams')
    with pytest.raises(FileNotFoundError, match=r'30 of 30 images have no \.npz file'):
        collect_label_report(with_masks, root / 'labels', cam_dir=root / 'masks')
    masks = shutil.copytree(root / 'masks', tmp_path / 'masks')
    lacking = dataset(root, seg_map_path=str(masks))
    (masks / '00.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'00\.png: no such mask \(of .*00\.png\); name a split'):
        collect_label_report(lacking, root / 'labels')
    labels = shutil.copytree(root / 'labels', tmp_path / 'labels')
    write_label_png(labels / '03.png', np.zeros((36, 24)), voc_palette(5))
    with pytest.raises(ValueError, match=r'03\.png: has 36x24 pixels .* but its label map has 24x36'):
        collect_label_report(without_masks, labels)
    images = shutil.copytree(root / 'images', tmp_path / 'images')
    broken = dataset(root, images=str(images))
    (images / '03.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'03\.png: not a readable image'):
        collect_label_report(broken, root / 'labels')


# The page -------------------------------------------------------------------------------------------------------------


def test_names_are_text_and_nothing_else(page: Page) -> None:
    assert len(page.all('script')) == 1 and len(page.all('style')) == 1
    assert not [attrs for _, attrs, _ in page.elements if any(key.startswith('on') for key in attrs)]
    assert page.all('h1')[0][1] == '<i>title</i>'
    names = [text for _, text in page.all('a')]
    assert names == list(CLASSES[1:4]), 'no image has a unicorn'
    assert {text for _, text in page.all('h3')} == set(IDS)
    assert page.all('pre')[0][1] == json.dumps(SETTINGS, indent=2)
    assert [text for _, text in page.all('option')][1:4] == [
        f'{name} ({n})' for name, n in zip(CLASSES[1:4], counts(page), strict=True)
    ]


def counts(page: Page) -> list[int]:
    images = [json.loads(attrs['data-classes'] or '') for attrs, _ in page.all('li') if 'data-classes' in attrs]
    return [sum(str(index) in classes for classes in images) for index in (1, 2, 3)]


def test_needs_nothing_from_elsewhere(report: LabelReport, page: Page) -> None:
    for tag, attrs, _ in page.elements:
        assert tag not in ('link', 'iframe', 'object', 'embed', 'base')
        for key in ('src', 'data-src', 'href', 'srcset', 'action'):
            assert (attrs.get(key) or 'data:').startswith(('data:image/', 'data:', '#images')), (tag, attrs)
    style, script = page.all('style')[0][1], page.all('script')[0][1]
    assert not re.search(r'https?:|//[a-z]|url\(|@import', style + script.replace('// ', ''))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attrs['content'] for attrs, _ in page.all('meta') if 'http-equiv' in attrs)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_colours_of_the_style_sheet(page: Page) -> None:
    style, inline = page.all('style')[0][1], inline_styles(page)
    used = set(re.findall(r'var\((--\w+)\)', style))
    light, dark = (set(re.findall(r'(--\w+):', block)) for block in re.findall(r':root \{([^}]*--ink[^}]*)\}', style))
    assert light == dark, 'each colour has a light and a dark variant'
    assert used <= light | set(re.findall(r'(--\w+):', inline))


def inline_styles(page: Page) -> str:
    return ' '.join(attrs.get('style') or '' for _, attrs, _ in page.elements)


def test_only_the_first_images_are_decoded_at_once(page: Page) -> None:
    cards = [attrs for attrs, _ in page.all('li') if 'data-id' in attrs]
    assert [('hidden' in attrs) for attrs in cards] == [False] * 24 + [True] * 6
    pictures = [attrs for attrs, _ in page.all('img')]
    assert [('src' in attrs) for attrs in pictures] == [True] * 24 * 4 + [False] * 6 * 4
    assert all(('src' in attrs) != ('data-src' in attrs) for attrs in pictures)
    assert all((attrs['width'], attrs['height']) == ('36', '24') for attrs in pictures)
    assert all(attrs['alt'] for attrs in pictures)


def test_curve_says_where_its_best_point_is_from(report: LabelReport, page: Page) -> None:
    assert report.curve is not None
    best, threshold = report.curve.best()
    best *= 100
    text = page.all('body')[0][1]
    assert f'best: {best:.2f} % at {threshold:.2f}, picked on the ground truth' in text
    assert 'an upper bound, not a result' in text
    (curve,) = page.all('polyline')
    points = [tuple(map(float, point.split(','))) for point in (curve[0]['points'] or '').split()]
    assert len(points) == 100
    (marked,) = page.all('circle')
    assert (float(marked[0]['cx'] or 0), float(marked[0]['cy'] or 0)) == min(points, key=lambda point: point[1])
    assert {'mIoU, %', 'threshold', '0.2', '1'} <= {text for _, text in page.all('text')}


def test_masks_that_are_void_everywhere_have_no_scores(report: LabelReport) -> None:
    assert report.scores is not None
    scores = replace(report.scores, confusion=np.zeros_like(report.scores.confusion))
    page = Page(render_label_report(replace(report, scores=scores, curve=ThresholdCurve(len(CLASSES)))))
    assert len(page.all('svg', class_='chart')) == 1
    assert {'mIoU, %', 'threshold', '0', '100'} <= {text for _, text in page.all('text')}
    assert not page.all('polyline') and not page.all('circle') and not page.all('line', class_='argmax')
    assert 'best:' not in page.all('body')[0][1]


def test_confusion_matrix(report: LabelReport, page: Page) -> None:
    assert report.scores is not None
    rows = page.all('table', class_='confusion')
    assert len(rows) == 1
    cells = [attrs.get('title') or '' for attrs, _ in page.all('td')]
    count, total = int(report.scores.confusion[1, 3]), int(report.scores.confusion[1].sum())
    assert (
        f'{CLASSES[1]} labelled as {CLASSES[3]}: {count:,} pixels, {100 * count / total:.2f} % of {CLASSES[1]}' in cells
    )
    assert 'unknown' in rows[0][1]


def test_same_input_gives_the_same_bytes(
    root: Path, with_masks: ImageLevelDataset, report: LabelReport, tmp_path: Path
) -> None:
    again = collect_label_report(with_masks, root / 'labels', cam_dir=root / 'cams', title='<i>title</i>', threads=1)
    write_label_report(tmp_path / 'new/report.html', again)
    assert (tmp_path / 'new/report.html').read_bytes() == render_label_report(report).encode()
    assert os.listdir(tmp_path / 'new') == ['report.html'], 'nothing half written is left'


def test_file_names_that_are_not_utf8(report: LabelReport, tmp_path: Path) -> None:
    (figures, tiles), *others = report.shown
    odd = replace(report, shown=((replace(figures, image_id='caf\udce9'), tiles), *others))
    write_label_report(tmp_path / 'report.html', odd)
    assert 'caf\\udce9' in {text for _, text in Page((tmp_path / 'report.html').read_text()).all('h3')}


def test_no_settings_and_no_images_with_classes(report: LabelReport) -> None:
    figures, tiles = report.shown[0]
    bare = replace(report, settings=None, shown=((replace(figures, score=None, classes={}), tiles),))
    page = Page(render_label_report(bare))
    assert 'The folder has no settings.json.' in page.all('body')[0][1]
    (card,) = [attrs for attrs, _ in page.all('li') if 'data-id' in attrs]
    assert 'data-score' not in card and card['data-classes'] == '{}'


@pytest.fixture(scope='module')
def thousand(report: LabelReport) -> LabelReport:
    """A report of a thousand images of the built-in set (forty of them, again and again)."""
    made = []
    for index in range(40):
        picture = draw_picture(0, index)
        height, width = picture.label_map.shape
        labels = label_thumbnail(picture.label_map, 160)
        pair = [('label map', labels_uri(labels, voc_palette(6))), ('ground truth', labels_uri(labels, voc_palette(6)))]
        uris = [('image', image_uri(image_thumbnail(picture.image, 160))), *pair]
        made.append(tuple(Tile(caption, uri, width, height, caption != 'image') for caption, uri in uris))
    shown = [
        (ImageFigures(index, f'train_{index:04}', index / 10, 0.0, {1 + index % 3: index / 10}), made[index % 40])
        for index in range(1000)
    ]
    return replace(report, shown=tuple(shown))


def test_a_thousand_images_are_less_than_30_megabytes(thousand: LabelReport) -> None:
    assert 5e6 < len(render_label_report(thousand)) < 30e6


# The page's script ----------------------------------------------------------------------------------------------------

SCRIPT = Path(render_label_report.__code__.co_filename).with_name('page.js')


@pytest.mark.skipif(shutil.which('node') is None, reason='no node in PATH')
def test_order_and_filter_of_the_script() -> None:
    images = [
        dict(id='b', score=50, unknown=0, classes={'1': 10}),
        dict(id='a', score=None, unknown=3, classes={}),
        dict(id='c', score=20, unknown=1, classes={'1': 90, '2': 5}),
        dict(id='d', score=20, unknown=1, classes={'2': 1}),
    ]
    asked = [
        ('', 'ascending'),
        ('', 'descending'),
        ('', 'unknown'),
        ('', 'name'),
        ('1', 'descending'),
        ('2', 'ascending'),
    ]
    program = f"""
        {SCRIPT.read_text()}
        const images = {json.dumps(images)};
        const asked = {json.dumps(asked)};
        console.log(JSON.stringify(asked.map(([chosen, order]) => arranged(images, chosen, order).map((i) => i.id))));
    """
    answer = json.loads(subprocess.run(['node', '-e', program], capture_output=True, check=True, timeout=60).stdout)
    assert [''.join(ids) for ids in answer] == ['cdba', 'bcda', 'acdb', 'abcd', 'cb', 'dc']


# A real browser -------------------------------------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason='no chromium, chromium-browser or google-chrome in PATH (Debian: apt-get install chromium)'
)


def browse(tmp_path: Path, *options: str) -> str:
    """Run the browser without a network and a window; its standard output."""
    command = [
        str(BROWSER),
        *('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'),
        *('--host-resolver-rules=MAP * ~NOTFOUND', f'--user-data-dir={tmp_path / "profile"}'),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def driven(text: str, script: str) -> str:
    """The page with one more script after its own, and no policy, which would forbid that."""
    text = re.sub(r'<meta http-equiv[^>]*>', '', text)
    return text.replace('</body>', f'<script>{script}</script></body>')


def visible(page: Page) -> list[str]:
    return [attrs['data-id'] or '' for attrs, _ in page.all('li') if 'data-id' in attrs and 'hidden' not in attrs]


@needs_browser
def test_script_runs_under_the_policy(report: LabelReport, tmp_path: Path) -> None:
    write_label_report(tmp_path / 'report.html', report)
    page = Page(browse(tmp_path, '--dump-dom', f'file://{tmp_path}/report.html'))
    assert page.all('span', role='status')[0][1] == '24 of 30 shown'
    assert visible(page) == [figures.image_id for figures, _ in report.shown[:24]]


@needs_browser
def test_filter_order_and_table_in_the_browser(report: LabelReport, tmp_path: Path) -> None:
    script = """
        const chooser = document.getElementById('class'), sorter = document.getElementById('order');
        chooser.value = '2'; chooser.dispatchEvent(new Event('change'));
        sorter.value = 'descending'; sorter.dispatchEvent(new Event('change'));
        document.querySelectorAll('.classes button')[0].click();
    """
    (tmp_path / 'driven.html').write_text(driven(render_label_report(report), script))
    page = Page(browse(tmp_path, '--dump-dom', f'file://{tmp_path}/driven.html'))
    expected = [figures for figures, _ in report.shown if 2 in figures.classes]
    expected.sort(key=lambda figures: (-figures.classes[2], figures.image_id))
    assert visible(page) == [figures.image_id for figures in expected][:24]
    shown = [attrs for attrs, _ in page.all('img') if 'src' in attrs]
    assert len(shown) >= 4 * min(24, len(expected))
    iou = [attrs.get('data-value') for attrs, _ in page.all('td')][: 7 * 5 : 7]
    values = [-1.0 if value is None else float(value) for value in iou]
    assert values == sorted(values, reverse=True)


@needs_browser
def test_a_thousand_images_open(thousand: LabelReport, tmp_path: Path) -> None:
    # How long it takes depends on the machine: docs/results.md.
    script = "addEventListener('load', () => { document.body.dataset.opened = performance.now(); });"
    (tmp_path / 'driven.html').write_text(driven(render_label_report(thousand), script))
    page = Page(browse(tmp_path, '--dump-dom', f'file://{tmp_path}/driven.html'))
    milliseconds = float(page.all('body')[0][0]['data-opened'] or 'nan')
    print(f'opened after {milliseconds:.0f} ms')
    assert milliseconds > 0
    assert page.all('span', role='status')[0][1] == '24 of 1000 shown'


@needs_browser
@pytest.mark.parametrize('width', [390, 1280])
def test_screenshot(report: LabelReport, tmp_path: Path, width: int) -> None:
    write_label_report(tmp_path / 'report.html', report)
    picture = tmp_path / f'{width}.png'
    browse(tmp_path, f'--window-size={width},1600', f'--screenshot={picture}', f'file://{tmp_path}/report.html')
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert('RGB').getcolors(1 << 24)}
    assert {(0, 114, 178), (230, 159, 0), (204, 121, 167)} <= colours, 'the bars of IoU, FP and FN'
