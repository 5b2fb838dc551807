"""Whether long trainings and long lists stay cheap: memory, open files and speed over many iterations, and start-up.

    python tools/benchmark_long_run.py training --iterations 20000 --json training.json --plot long_run.png
    python tools/benchmark_long_run.py lists --images 100000 --json lists.json

`training` trains on the built-in set, in crops of 96 pixels, with everything that a usual training does besides: two
loading processes, a checkpoint and pictures of the maps every epoch, log lines, scoring every tenth.
`lists` builds the data set of so many images, each checked, from each kind of label file. Linux.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from sipe_mmseg.datasets.image_level_dataset import ImageLevelDataset
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.benchmarking import (
    in_own_process,
    machine,
    markdown_table,
    peak_megabytes,
    resident_megabytes,
)

CONFIG = Path(__file__).parents[1] / 'configs' / 'sipe' / 'sipe_r18_1xb16-6e_shapes-160x160.py'
CLASSES = ('background', 'bird', 'cat', 'dog')
WARM_UP = 0.1  # the part of the training that slopes leave out


# --- Training ---------------------------------------------------------------------------------------------------------


class ResourceHook(Hook):
    """Writes down every so many iterations what this process and its loading processes hold."""

    priority = 'LOWEST'

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.rows: list[dict[str, float]] = []
        self._since = now()
        self._apart = np.zeros(2)

    def before_train(self, runner: Runner) -> None:
        self._since = now()

    def before_val(self, runner: Runner) -> None:
        self._apart -= now()

    def after_val(self, runner: Runner) -> None:
        self._apart += now()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if (runner.iter + 1) % self.interval:
            return
        seconds, of_processor = now() - self._since - self._apart
        processes = [os.getpid(), *children()]
        self.rows.append(
            dict(
                iteration=runner.iter + 1,
                megabytes=resident_megabytes(),
                megabytes_of_workers=sum(resident_megabytes(process=process) for process in processes[1:]),
                open_files=sum(len(os.listdir(f'/proc/{process}/fd')) for process in processes),
                processes=len(processes),
                iterations_per_second=self.interval / seconds,
                processor_ms_per_iteration=1000 * of_processor / self.interval,
                loss=float(outputs['loss'].detach()),
            )
        )
        print(self.rows[-1], file=sys.stderr, flush=True)
        self._since, self._apart = now(), np.zeros(2)


def now() -> np.ndarray:
    """Seconds of the clock, and of the processor for this process: other work on the machine hardly changes these."""
    return np.array([time.perf_counter(), time.process_time()])


def children() -> list[int]:
    """The processes that this one has started."""
    return [int(pid) for pid in Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()]


def training(iterations: int, interval: int, folder: Path) -> list[dict[str, float]]:
    """One training of so many iterations of four pictures; a row every ``interval``."""
    data = folder / 'shapes'
    write_shapes(data, ShapesSettings(num_train=640, num_val=20))
    os.environ['SHAPES_ROOT'] = str(data)
    cfg = Config.fromfile(CONFIG)
    epochs = -(-iterations // (640 // 4))
    cfg.merge_from_dict(
        {
            'work_dir': str(folder / 'work_dir'),
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_interval': 10,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 2,
            'model.data_preprocessor.size': (96, 96),
            'train_dataloader.dataset.pipeline.3.crop_size': (96, 96),
            'optim_wrapper.optimizer.lr': 0.01,
            'default_hooks.logger.interval': 50,
            'default_hooks.maps.type': 'CAMVisualizationHook',
        }
    )
    runner = Runner.from_cfg(cfg)
    hook = ResourceHook(interval)
    runner.register_hook(hook)
    runner.train()
    return hook.rows


def slopes(rows: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    """What grows, by least squares over all but the first tenth, with the figures at both ends of that."""
    kept = rows[int(len(rows) * WARM_UP) :]
    thousands = [row['iteration'] / 1000 for row in kept]
    found = []
    for name in sorted(rows[0].keys() - {'iteration', 'processes', 'loss'}):
        values = [row[name] for row in kept]
        part = max(1, len(values) // 10)
        found.append(
            dict(
                what=name,
                first=float(np.median(values[:part])),
                last=float(np.median(values[-part:])),
                most=max(values),
                slope_per_1000=float(np.polyfit(thousands, values, 1)[0]),
            )
        )
    return found


def plot(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Memory, open files and time over the iterations."""
    shown = dict(
        megabytes='MB, training process',
        open_files='open files',
        processor_ms_per_iteration='ms of processor an iteration',
    )
    figure, axes = plt.subplots(1, len(shown), figsize=(12, 3), layout='constrained')
    for axis, (name, label) in zip(axes, shown.items(), strict=True):
        axis.plot([row['iteration'] for row in rows], [row[name] for row in rows], linewidth=1)
        axis.set(xlabel='iteration', ylabel=label, ylim=(0, None))
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


# --- Lists ------------------------------------------------------------------------------------------------------------


def write_data_set(folder: Path, images: int) -> None:
    """Images (each a link to one of 100 small photographs) and their labels in every form."""
    (folder / 'images').mkdir(parents=True)
    (folder / 'xml').mkdir()
    random = np.random.default_rng(0)
    originals = []
    for index in range(100):
        originals.append(folder / f'original_{index}.jpg')
        Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(originals[-1])
    labels = {}
    for index in range(images):
        name = f'{index:07d}'
        os.link(originals[index % 100], folder / 'images' / f'{name}.jpg')
        labels[f'{name}.jpg'] = [CLASSES[1 + index % 3]] + [CLASSES[1 + (index + 1) % 3]] * (index % 2)
        objects = ''.join(f'<object><name>{label}</name></object>' for label in labels[f'{name}.jpg'])
        (folder / 'xml' / f'{name}.xml').write_text(f'<annotation>{objects}</annotation>')
    (folder / 'labels.json').write_text(json.dumps(labels))
    with open(folder / 'labels.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'labels'])
        writer.writerows([name, ';'.join(found)] for name, found in labels.items())
    (folder / 'coco.json').write_text(json.dumps(as_coco(labels)))
    (folder / 'list.txt').write_text(''.join(f'{Path(name).stem}\n' for name in labels))


def as_coco(labels: dict[str, list[str]]) -> dict[str, Any]:
    """The labels as an instances file, an annotation for each class of an image."""
    numbers = {name: index for index, name in enumerate(CLASSES[1:], start=1)}
    named = dict(enumerate(labels, start=1))
    return dict(
        images=[dict(id=key, file_name=name, height=24, width=32) for key, name in named.items()],
        categories=[dict(id=number, name=name) for name, number in numbers.items()],
        annotations=[
            dict(id=4 * key + number, image_id=key, category_id=number, iscrowd=0, area=9, bbox=[0, 0, 3, 3])
            for key, name in named.items()
            for number in sorted({numbers[label] for label in labels[name]})
        ],
    )


def start_up(folder: Path, kind: str, path: str) -> dict[str, Any]:
    """Seconds and memory of building one data set, and what the whole process holds at its peak."""
    built: list[Any] = []

    def build() -> None:
        built.append(
            ImageLevelDataset(
                data_root=str(folder),
                data_prefix=dict(img_path='images'),
                ann_file='list.txt',
                labels={kind: path},
                metainfo=dict(classes=CLASSES),
            )
        )

    start = now()
    added = peak_megabytes(build, 'cpu')
    seconds, of_processor = now() - start
    return dict(
        labels=kind,
        images=len(built[0]),
        seconds=seconds,
        seconds_of_processor=of_processor,
        megabytes_added=added,
        megabytes_of_the_process=resident_megabytes('VmHWM'),
    )


def lists(images: int, folder: Path) -> Iterator[dict[str, Any]]:
    write_data_set(folder, images)
    for kind, path in dict(json='labels.json', csv='labels.csv', xml='xml', coco='coco.json').items():
        yield in_own_process(start_up, folder, kind, path)


# ----------------------------------------------------------------------------------------------------------------------


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('training', 'lists'))
    parser.add_argument('--iterations', type=int, default=20000)
    parser.add_argument('--interval', type=int, default=100, help='iterations between two looks')
    parser.add_argument('--images', type=int, default=100000)
    parser.add_argument('--json', type=Path, help='file for the figures')
    parser.add_argument('--plot', type=Path, help='picture of a training')
    args = parser.parse_args()
    if min(args.iterations, args.interval, args.images) < 1 or args.iterations < 10 * args.interval:
        parser.error('--iterations must be ten times --interval or more, and all numbers at least 1')
    for path in filter(None, (args.json, args.plot)):
        if not path.parent.is_dir():
            parser.error(f'{path}: there is no folder {path.parent}')
    return args


def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.what == 'training':
            rows: list[dict[str, Any]] = list(training(args.iterations, args.interval, Path(folder)))
            shown = slopes(rows)
        else:
            rows = shown = list(lists(args.images, Path(folder)))
    print(f'{machine("cpu")}\n\n{markdown_table(shown)}')
    if args.json:
        args.json.write_text(json.dumps(dict(machine=machine('cpu'), command=sys.argv, rows=rows), indent=2))
    if args.plot and args.what == 'training':
        plot(rows, args.plot)
    return 0


if __name__ == '__main__':
    sys.exit(main())
