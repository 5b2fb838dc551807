"""The metric against one long list of pixels; its log, its files, its messages; several processes."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS
from PIL import Image

import sipe_mmseg
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.evaluation import CAMMetric

CLASSES = ('background', 'cat', 'dog', 'bird', 'unicorn')  # no unicorn is ever seen or predicted
META = dict(classes=CLASSES, palette=voc_palette(5))
C, K, VOID = 5, 4, 255
THRESHOLDS = [0.0, 0.1, 0.15, 0.5, 0.95]
Sample = dict[str, Any]


def draw(index: int, labels: Sequence[int] | None = None, size: tuple = (9, 12)) -> Sample:
    """An image's prediction as the test loop hands it on: a dict of dicts. ``labels`` are class indices."""
    torch.manual_seed(index)
    labels = [[1], [2, 3], [1, 2, 3], []][index % 4] if labels is None else labels
    n, keys = len(labels), torch.tensor([0, *labels])
    truth = torch.tensor([0, *labels, VOID])[torch.randint(n + 2, (1, *size))]
    if not labels:
        truth[0, 0] = 1  # an unlabelled object
    cam = torch.rand(n, *size)
    if n:
        cam[:, 0] = 0.15  # exactly on the threshold
    multi_hot = torch.zeros(K)
    multi_hot[[k - 1 for k in labels]] = 1
    return dict(
        img_id=f'image{index}',
        img_path=f'/data/image{index}.jpg',
        seg_map_path=f'/masks/image{index}.png',
        pred_sem_seg=dict(data=keys[torch.randint(n + 1, (1, *size))]),
        gt_sem_seg=dict(data=truth),
        localization=dict(
            is_cam=torch.rand(n + 1, *size),
            cam=cam,
            seeds=torch.tensor([0, *labels, VOID])[torch.randint(n + 2, (1, *size))],
        ),
        present=dict(
            classes=torch.tensor(labels, dtype=torch.int64),
            scores=torch.tensor([0.1, 0.4, 0.4, 0.7])[torch.randint(4, (K,))],
            given=torch.tensor(True),
        ),
        image_labels=dict(multi_hot=multi_hot),
    )


def metric(**config: Any) -> CAMMetric:
    built = METRICS.build(dict(dict(type='CAMMetric', thresholds=THRESHOLDS), **config))
    built.dataset_meta = META
    return built


def score(samples: Sequence[Sample], batch: int = 1, **config: Any) -> dict[str, float]:
    built = metric(**config)
    for start in range(0, len(samples), batch):
        built.process(None, samples[start : start + batch])
    return built.evaluate(len(samples))


def without(sample: Sample, *keys: str) -> Sample:
    return {key: value for key, value in sample.items() if key not in keys}


def slow_rates(pairs: Sequence[tuple[int, int]]) -> dict[str, list[float | None]]:
    """From (prediction, truth) of every pixel of every image; None for a class that is nowhere."""
    known = [(p, t) for p, t in pairs if t != VOID]
    rates: dict[str, list[float | None]] = dict(iou=[], fp=[], fn=[])
    for k in range(C):
        union = [(p, t) for p, t in known if k in (p, t)]
        for name, part in (
            ('iou', [1 for p, t in union if p == t]),
            ('fp', [1 for p, t in union if t != k]),
            ('fn', [1 for p, t in union if p != k]),
        ):
            rates[name].append(len(part) / len(union) if union else None)
    return rates


def percent(values: Sequence[float | None]) -> float:
    numbers = [value for value in values if value is not None]
    return round(100 * sum(numbers) / len(numbers), 2)


def slow_figures(samples: Sequence[Sample], threshold: float = 0.15) -> dict[str, float]:
    is_cam, seeds = [], []
    curve: dict[float, list] = {t: [] for t in THRESHOLDS}
    for sample in samples:
        truth = sample['gt_sem_seg']['data'].flatten().tolist()
        is_cam += zip(sample['pred_sem_seg']['data'].flatten().tolist(), truth, strict=True)
        seeds += zip(sample['localization']['seeds'].flatten().tolist(), truth, strict=True)
        classes = sample['present']['classes'].tolist()
        columns = sample['localization']['cam'].flatten(1).T.tolist() if classes else [[]] * len(truth)
        for column, t in zip(columns, truth, strict=True):
            best = max(column, default=0.0)
            for limit in THRESHOLDS:
                above = best > float(torch.tensor(limit))
                curve[limit].append((classes[column.index(best)] if above else 0, t))
    curve_miou = {t: percent(slow_rates(pairs)['iou']) for t, pairs in curve.items()}
    best = max(curve_miou.values())
    rates = slow_rates(is_cam)
    precisions = []
    for k in range(K):
        scores = [float(sample['present']['scores'][k]) for sample in samples]
        labels = [bool(sample['image_labels']['multi_hot'][k]) for sample in samples]
        above = [[y for s, y in zip(scores, labels, strict=True) if s >= own] for own in scores]
        own = [sum(group) / len(group) for group, positive in zip(above, labels, strict=True) if positive]
        precisions.append(sum(own) / len(own) if own else None)
    return {
        'mIoU': percent(rates['iou']),
        f'cam_mIoU@{threshold:g}': curve_miou[threshold],
        'cam_mIoU_best(picked_on_ground_truth)': best,
        'seed_mIoU': percent(slow_rates(seeds)['iou']),
        'FP': percent(rates['fp'][1:]),
        'FN': percent(rates['fn'][1:]),
        'mAP': percent(precisions),
        'cam_best_threshold(picked_on_ground_truth)': next(t for t, m in curve_miou.items() if m == best),
    }


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    lines: list[str] = []
    monkeypatch.setattr('sipe_mmseg.evaluation.cam_metric.print_log', lambda text, logger: lines.append(text))
    return lambda: '\n'.join(lines)


class TestFigures:
    @pytest.mark.parametrize('batch', [1, 3, 8])
    def test_are_those_of_a_loop_over_all_pixels(self, batch: int) -> None:
        samples = [draw(index) for index in range(8)]
        found, expected = score(samples, batch), slow_figures(samples)
        assert found == pytest.approx(expected, abs=0.006)  # both are rounded to two digits
        assert len(set(expected.values())) == len(expected)  # no figure stands in for another

    def test_first_is_the_one_to_quote(self) -> None:
        assert next(iter(score([draw(0)]))) == 'mIoU'

    def test_perfect(self) -> None:
        sample = draw(2)
        truth = sample['gt_sem_seg']['data']
        sample['pred_sem_seg']['data'] = truth.clamp(max=3)
        sample['localization']['seeds'] = truth.clamp(max=3)
        sample['localization']['cam'] = torch.stack([(truth[0] == k).float() for k in (1, 2, 3)])
        sample['present']['scores'] = torch.tensor([0.9, 0.9, 0.9, 0.1])
        found = score([sample])
        assert found['mIoU'] == found['seed_mIoU'] == found['cam_mIoU@0.15'] == found['mAP'] == 100
        assert found['FP'] == found['FN'] == 0

    def test_void_of_the_prediction_is_an_error_void_of_the_truth_is_not(self) -> None:
        sample = draw(0, [1], (1, 4))
        sample['gt_sem_seg']['data'] = torch.tensor([[[1, 1, 1, VOID]]])
        sample['pred_sem_seg']['data'] = torch.ones(1, 1, 4, dtype=torch.int64)
        sample['localization']['seeds'] = torch.tensor([[[1, VOID, VOID, VOID]]])
        found = score([sample])
        assert (found['mIoU'], found['seed_mIoU']) == (100, 33.33)

    def test_other_void(self) -> None:
        sample = draw(0, [1], (1, 2))
        sample['gt_sem_seg']['data'] = torch.tensor([[[1, 9]]])
        sample['pred_sem_seg']['data'] = torch.ones(1, 1, 2, dtype=torch.int64)
        assert score([sample], ignore_index=9)['mIoU'] == 100

    def test_other_fixed_threshold_joins_the_curve(self) -> None:
        samples = [draw(index) for index in range(4)]
        assert score(samples, cam_threshold=0.5)['cam_mIoU@0.5'] == pytest.approx(
            slow_figures(samples, 0.5)['cam_mIoU@0.5'], abs=0.006
        )
        assert metric(cam_threshold=0.33, thresholds=[0.5]).thresholds == [0.33, 0.5]

    def test_default_curve(self) -> None:
        found = metric(thresholds=None)
        assert found.thresholds == [step / 100 for step in range(100)]
        assert found.cam_threshold == 0.15

    def test_prefix(self) -> None:
        samples = [draw(index) for index in range(2)]
        assert score(samples, prefix='train') == {f'train/{name}': v for name, v in score(samples).items()}

    def test_background_only_images_count_as_background(self) -> None:
        background = draw(3)
        assert len(background['present']['classes']) == 0
        alone = score([background])
        assert alone['cam_mIoU@0.15'] == alone['mIoU'] == alone['cam_mIoU_best(picked_on_ground_truth)']
        samples = [background, draw(1)]
        assert score(samples) == pytest.approx(slow_figures(samples), abs=0.006)

    def test_two_evaluations_do_not_mix(self) -> None:
        built = metric()
        first = [draw(index) for index in range(3)]
        for _ in range(2):
            built.process(None, first)
            assert built.evaluate(3) == score(first)


class TestLog:
    def test_table_has_every_class(self, log: Callable[[], str]) -> None:
        score([draw(index) for index in range(4)])
        rows = {
            cells[0]: cells[1:]
            for cells in (
                [cell.strip() for cell in line.strip('|').split('|')] for line in log().splitlines() if '|' in line
            )
        }
        assert rows['class'] == ['IS-CAM', 'FP', 'FN', 'CAM@0.15', 'CAM best', 'seeds', 'AP']
        assert list(rows)[1:] == list(CLASSES)
        assert rows['unicorn'] == ['-'] * 7
        expected = slow_rates(
            [
                pair
                for index in range(4)
                for pair in zip(
                    draw(index)['pred_sem_seg']['data'].flatten().tolist(),
                    draw(index)['gt_sem_seg']['data'].flatten().tolist(),
                    strict=True,
                )
            ]
        )
        for k, name in enumerate(CLASSES[:4]):
            for column, rate in enumerate(('iou', 'fp', 'fn')):
                assert float(rows[name][column]) == pytest.approx(100 * expected[rate][k], abs=0.006)

    def test_best_threshold_is_marked_as_picked_on_the_ground_truth(self, log: Callable[[], str]) -> None:
        found = score([draw(index) for index in range(4)])
        best = found['cam_best_threshold(picked_on_ground_truth)']
        assert f'Best at {best:g} - a threshold picked on the ground truth that it is scored on' in log()
        assert f'{best:g}:{found["cam_mIoU_best(picked_on_ground_truth)"]:.2f}' in log()


class TestImagesWithoutLabels:
    def test_are_counted_and_left_out_of_the_average_precision(self, log: Callable[[], str]) -> None:
        samples = [draw(index) for index in range(4)]
        unlabelled = without(draw(4, [1, 2]), 'image_labels')
        unlabelled['present']['given'] = torch.tensor(False)
        found = score([*samples, unlabelled])
        assert found['mAP'] == score(samples)['mAP']
        assert found['mIoU'] != score(samples)['mIoU']
        assert '1 of 5 images have no image-level labels' in log()
        assert "the classifier's own scores put above test_cfg.score_threshold" in log()

    def test_only_them_gives_no_average_precision(self) -> None:
        unlabelled = without(draw(0), 'image_labels')
        unlabelled['present']['given'] = torch.tensor(False)
        assert 'mAP' not in score([unlabelled])

    def test_nothing_is_said_where_all_have_labels(self, log: Callable[[], str]) -> None:
        score([draw(0)])
        assert 'no image-level labels' not in log()


class TestStreaming:
    def test_state_grows_by_nothing_but_the_scores(self) -> None:
        def state(built: CAMMetric) -> int:
            return len(pickle.dumps({k: v for k, v in vars(built).items() if k not in ('_scores', '_labels')}))

        built, sizes = metric(), []
        for index in range(30):
            built.process(None, [draw(index % 4, size=(40, 40))])
            sizes.append(state(built))
        assert max(sizes) - min(sizes) < 100
        assert [len(numbers) for numbers in (built._scores, built._labels)] == [30 * K, 30 * K]
        assert not built.results


class TestMessages:
    def test_mask_of_another_size(self) -> None:
        sample = draw(0)
        sample['gt_sem_seg']['data'] = sample['gt_sem_seg']['data'][:, :, :10]
        with pytest.raises(
            ValueError, match=r'/masks/image0\.png has 9 x 10 pixels, its image /data/image0\.jpg has 9 x 12'
        ):
            score([sample])

    def test_transposed_mask(self) -> None:
        sample = draw(0)
        sample['gt_sem_seg']['data'] = sample['gt_sem_seg']['data'].transpose(1, 2)
        with pytest.raises(ValueError, match='has 12 x 9 pixels'):
            score([sample])

    @pytest.mark.parametrize('value', [5, 128, 254])
    def test_unknown_class(self, value: int) -> None:
        sample = draw(0)
        sample['gt_sem_seg']['data'][0, 3, 3] = value
        with pytest.raises(
            ValueError,
            match=rf'/masks/image0\.png holds the value {value}, which is neither one of the 5 classes \(0 to 4\) nor '
            r'void \(255\)',
        ):
            score([sample])

    def test_no_mask(self) -> None:
        with pytest.raises(
            ValueError,
            match=r'/data/image0\.jpg comes without a mask to score against: give the data set a '
            r'data_prefix\.seg_map_path and the pipeline LoadScoringMask, or use CAMMetric\(format_only=True\)',
        ):
            score([without(draw(0), 'gt_sem_seg')])

    def test_repeated_images(self) -> None:
        built = metric()
        built.process(None, [draw(index) for index in range(4)])
        with pytest.raises(ValueError, match=r'counted 4 images, but the data set has 3.*round_up=False'):
            built.evaluate(3)

    def test_format_only_needs_a_folder(self) -> None:
        with pytest.raises(ValueError, match=r'CAMMetric\(format_only=True\) .* give it an output_dir'):
            metric(format_only=True)


class TestFiles:
    IDS = ('image0', 'folder/below/image1', '2007_000032.jpg.v2', 'folder.d/image')

    @pytest.mark.parametrize('format_only', [False, True])
    def test_label_maps_are_named_after_the_image(
        self, tmp_path: Path, format_only: bool, log: Callable[[], str]
    ) -> None:
        samples = [dict(draw(index), img_id=img_id) for index, img_id in enumerate(self.IDS)]
        if format_only:
            samples = [without(sample, 'gt_sem_seg') for sample in samples]
        found = score(samples, output_dir=str(tmp_path), format_only=format_only)
        files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file()}
        assert files == {f'{img_id}.png' for img_id in self.IDS}
        for sample in samples:
            with Image.open(tmp_path / f'{sample["img_id"]}.png') as image:
                assert image.mode == 'P'
                np.testing.assert_array_equal(np.array(image), sample['pred_sem_seg']['data'][0])
                assert image.getpalette()[: 3 * C] == [value for colour in META['palette'] for value in colour]
        assert f'Label maps of IS-CAM are in {tmp_path}' in log()
        assert found == ({} if format_only else score(samples))

    def test_images_of_a_data_set_without_ids_stay_as_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / 'images' / 'photo.png'
        path.parent.mkdir()
        path.write_bytes(b'the image')
        sample = dict(without(draw(0), 'img_id'), img_path=str(path))
        score([sample], output_dir=str(tmp_path / 'out'))
        assert path.read_bytes() == b'the image'
        assert [p.name for p in (tmp_path / 'out').iterdir()] == ['photo.png']

    def test_nothing_is_written_without_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        score([draw(0)])
        assert not list(tmp_path.iterdir())

    def test_options_of_mmsegs_test_tool(self, tmp_path: Path) -> None:
        """``--out DIR`` sets these two on whatever metric the config has."""
        assert score([draw(0)], output_dir=str(tmp_path), keep_results=True) == score([draw(0)])


TWO_PROCESSES = """
import json, os, pickle, sys, torch
import torch.distributed as dist
import sipe_mmseg
from sipe_mmseg.evaluation import CAMMetric

folder = sys.argv[1]
with open(folder + '/samples.pkl', 'rb') as file:
    config, meta, samples = pickle.load(file)
rank = 0 if os.fork() else 1
dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
metric = CAMMetric(**config)
metric.dataset_meta = meta
figures = []
for shares in ((samples[:5], samples[5:]), (samples, [])):
    for sample in shares[rank]:
        metric.process(None, [sample])
    figures.append(metric.evaluate(len(samples)))
with open(f'{folder}/figures{rank}.json', 'w') as file:
    json.dump(figures, file)
dist.barrier()
dist.destroy_process_group()
os._exit(0) if rank else os.wait()
"""


def test_two_processes_give_the_figures_of_one(tmp_path: Path) -> None:
    """Also where one of them has no image at all. One interpreter forks after the imports, which take longest."""
    samples = [draw(index) for index in range(8)]
    samples[6]['present']['given'] = torch.tensor(False)
    (tmp_path / 'samples.pkl').write_bytes(pickle.dumps((dict(thresholds=THRESHOLDS), META, samples)))
    checkout = str(Path(sipe_mmseg.__file__).parents[1])
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([checkout, os.environ.get('PYTHONPATH', '')]))
    subprocess.run(
        [sys.executable, '-c', TWO_PROCESSES, str(tmp_path)],
        env=dict(environment, OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME='lo'),
        check=True,
        timeout=120,
    )
    expected = score(samples)
    for rank in range(2):
        figures = json.loads((tmp_path / f'figures{rank}.json').read_text())
        assert figures == [expected, expected]
