"""What SIPE costs: beside the bare encoder, which is the floor, and beside a plain transcription of the formulas.

    python tools/benchmark.py step --classes 21 81            a training step, forward and backward
    python tools/benchmark.py inference --classes 21 81       one image at four scales with mirrors
    python tools/benchmark.py labels --images 8               tools/generate_labels.py, files and all
    python tools/benchmark.py evaluation --images 5000        memory while CAMMetric counts COCO-sized images
    python tools/benchmark.py loading --images 200            the training pipeline beside decode and resize alone
    python tools/benchmark.py growth --along classes          a step's time and memory as one number grows
    ... --device cuda --batch 16 --amp bf16 --json step.json --plot growth.png

Contestants take turns in one process, after a warm-up; a ratio is the median of the rounds' ratios. Memory is how much
the peak rises above what lies there before the step, each figure from a process of its own (CPU) or by the allocator's
count (GPU). Weights are random: they cost what trained ones do.
"""

import argparse
import copy
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.cnn import fuse_conv_bn
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from sipe_mmseg.datasets import VOC12ImageLevelDataset
from sipe_mmseg.engine.benchmarking import (
    in_own_process,
    machine,
    markdown_table,
    peak_megabytes,
    resident_megabytes,
    take_turns,
)
from sipe_mmseg.engine.label_generation import generate_labels
from sipe_mmseg.evaluation import CAMMetric
from sipe_mmseg.models import MultiScaleCAM
from sipe_mmseg.models.prototypes import validity_maps

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / 'configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py')
SCALES = (1.0, 0.5, 1.5, 2.0)
PRESENT = 2  # classes in an image
AMP = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def transcription() -> ModuleType:
    """The slow reference, which lives beside the tests."""
    path = ROOT / 'tests/models/sipe_transcription.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f'{path}: Python cannot load it')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- Networks ---------------------------------------------------------------------------------------------------------


def peak(build: Callable[..., dict[str, Callable[[], Any]]], name: str, settings: dict[str, Any]) -> float:
    """How much one contestant's first run at full size raises the peak, after a run at a small one."""
    build(**{**settings, 'size': 32, 'batch': 1})[name]()
    return peak_megabytes(build(**settings)[name], settings['device'])


def measure(
    build: Callable[..., dict[str, Callable[[], Any]]], settings: dict[str, Any], names: Sequence[str], repeats: int
) -> list[dict[str, Any]]:
    """Rows of times, memory and ratios to ``'encoder'``, the first of the names."""
    contestants = build(**settings)
    times = take_turns({name: contestants[name] for name in names}, repeats, settings['device'])
    rows = []
    for name in names:
        memory = in_own_process(peak, build, name, settings)
        ratios = [mine / floor for mine, floor in zip(times[name], times[names[0]], strict=True)]
        rows.append(
            dict(
                name=name,
                **{key: settings[key] for key in ('classes', 'size', 'batch')},
                seconds=statistics.median(times[name]),
                ratio=statistics.median(ratios),
                ratio_low=min(ratios),
                ratio_high=max(ratios),
                megabytes=memory,
                memory_ratio=memory / rows[0]['megabytes'] if rows else 1.0,
            )
        )
    return rows


def autocast(device: str, amp: str) -> AbstractContextManager:
    """Mixed precision of the kind that ``--amp`` names, or none."""
    return torch.autocast(device.split(':')[0], AMP[amp]) if amp != 'off' else nullcontext()


# --- A training step --------------------------------------------------------------------------------------------------


def build_model(classes: int, device: str, config: str = CONFIG) -> torch.nn.Module:
    """The config's network at random weights, with so many classes (background included)."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    cfg.model.decode_head.num_classes = classes
    torch.manual_seed(0)
    return MODELS.build(cfg.model).to(device)


def labelled_samples(classes: int, batch: int, size: int, device: str) -> list[SegDataSample]:
    samples = []
    for index in range(batch):
        labels = torch.zeros(classes - 1, device=device)
        labels[[(7 * index + step) % (classes - 1) for step in range(PRESENT)]] = 1
        sample = SegDataSample(metainfo=dict(ori_shape=(size, size), img_shape=(size, size)))
        sample.set_data(
            dict(
                image_labels=LabelData(multi_hot=labels),
                valid_box=torch.tensor([0, size, size // 8, size], device=device),
            )
        )
        samples.append(sample)
    return samples


def step_contestants(classes: int, size: int, batch: int, device: str, amp: str) -> dict[str, Callable[[], Any]]:
    """A forward and a backward: ``encoder`` (with classifier and its loss), ``here``, ``transcription``."""
    model = build_model(classes, device).train()
    head = model.decode_head
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    samples = labelled_samples(classes, batch, size, device)
    labels = torch.stack([sample.image_labels.multi_hot for sample in samples])
    written = transcription()

    def finish(losses: Sequence[Tensor]) -> None:
        torch.stack(list(losses)).sum().backward()
        model.zero_grad(set_to_none=True)

    def encoder() -> None:
        with autocast(device, amp):
            scores = head.classifier(model.extract_feat(images)[-1]).mean(dim=(2, 3))
            loss = head.loss_cls(scores.float(), labels)
        finish([loss])

    def here() -> None:
        with autocast(device, amp):
            losses = model.loss(images, samples)
        finish(list(losses.values()))

    def transcribed() -> None:
        with autocast(device, amp):
            maps = model.extract_feat(images)
            logits = head.classifier(maps[-1]).float()
            sides = [side(each.detach()).float() for side, each in zip(head.side_projections, maps, strict=True)]
        loss_cls = head.loss_cls(logits.mean(dim=(2, 3)), labels)
        grid = maps[head.grid_index].shape[-2:]
        boxes = torch.stack([sample.valid_box for sample in samples])
        valid = validity_maps(labels, boxes, (size, size), grid)
        cam = written.general_cam(logits, valid)
        features = written.hierarchical_feature(sides, grid)
        found = written.is_cam(features, written.seeds(maps[-1].float(), cam, valid))
        finish([loss_cls, written.gsc_loss(cam, found)])

    return {'encoder': encoder, 'here': here, 'transcription': transcribed}


# --- Inference --------------------------------------------------------------------------------------------------------


def inference_contestants(classes: int, size: int, batch: int, device: str, amp: str) -> dict[str, Callable[[], Any]]:
    """Images at four scales with mirrors: ``encoder`` on the same inputs, ``here`` with fusion and label map.

    In both, BatchNorm is folded into the convolutions; in ``encoder_unfolded`` it is not.
    """
    unfolded = build_model(classes, device).eval()
    model = fuse_conv_bn(copy.deepcopy(unfolded))
    tta = MultiScaleCAM(model)
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for scale in SCALES:
        side = round(size * scale)
        image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
        inputs.append([image] * batch)
        samples.append(labelled_samples(classes, batch, size, device))
        for sample in samples[-1]:
            sample.set_metainfo(dict(img_shape=(side, side)))
    prepared = [model.data_preprocessor(dict(inputs=each, data_samples=None), False)['inputs'] for each in inputs]

    @torch.no_grad()
    def encode(network: torch.nn.Module) -> None:
        with autocast(device, amp):
            for each in prepared:
                network.decode_head.classifier(network.extract_feat(torch.cat([each, each.flip(-1)]))[-1])

    @torch.no_grad()
    def here() -> None:
        with autocast(device, amp):
            tta.test_step(dict(inputs=inputs, data_samples=samples))

    return {'encoder': lambda: encode(model), 'here': here, 'encoder_unfolded': lambda: encode(unfolded)}


def labels(images: int, settings: dict[str, Any], repeats: int, config: str = CONFIG) -> list[dict[str, Any]]:
    """Images per second: label maps and CAM files on disk, starting up included, and the encoder on the same inputs."""
    device, batch = settings['device'], settings['batch']
    height, width = settings['size'] * 3 // 4, settings['size']
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_photographs(folder, images, height, width)
        classes = [name for name in VOC12ImageLevelDataset.METAINFO['classes'] if name != 'background']
        present = {
            path.name: [classes[(7 * index + step) % 20] for step in range(PRESENT)] for index, path in enumerate(paths)
        }
        (folder / 'labels.json').write_text(json.dumps(present))
        cfg.test_dataloader.batch_size = batch
        cfg.test_dataloader.dataset = dict(
            type='ImageLevelDataset',
            data_root=name,
            labels=dict(json='labels.json'),
            metainfo=dict(classes=['background', *classes]),
            test_mode=True,
        )
        model = build_model(21, device, config).eval()
        torch.save(model.state_dict(), folder / 'random.pth')
        fuse_conv_bn(model)  # as generate_labels does

        @torch.no_grad()
        def encoder() -> None:
            with autocast(device, settings['amp']):
                for scale in SCALES:
                    size = (round(height * scale), round(width * scale))
                    inputs = torch.zeros(2 * batch, 3, *size, device=device)
                    for _ in range(images // batch):
                        model.decode_head.classifier(model.extract_feat(inputs)[-1])

        def here() -> None:
            with tempfile.TemporaryDirectory(dir=name) as out, autocast(device, settings['amp']):
                checkpoint, folders = folder / 'random.pth', (Path(out, 'labels'), Path(out, 'cams'))
                generate_labels(cfg, checkpoint, folders[0], cam_dir=folders[1], device=device)

        times = take_turns({'encoder': encoder, 'here': here}, repeats, device)
    ratios = [mine / floor for mine, floor in zip(times['here'], times['encoder'], strict=True)]
    return [
        dict(name=name, batch=batch, images_per_second=images / statistics.median(times[name]), ratio=ratio)
        for name, ratio in (('encoder', 1.0), ('here', statistics.median(ratios)))
    ]


# --- Evaluation -------------------------------------------------------------------------------------------------------


def simulated_prediction(generator: torch.Generator, classes: int, height: int, width: int) -> dict[str, Any]:
    """What the model leaves of one image, as mmseg hands it to a metric."""
    present = torch.randperm(classes - 1, generator=generator)[:PRESENT].sort().values + 1
    cam = torch.rand(PRESENT, height, width, generator=generator)
    seeds = torch.randint(0, classes, (1, height, width), generator=generator)
    labels = torch.zeros(classes - 1)
    labels[present - 1] = 1
    return dict(
        img_id='simulated',
        img_path='simulated',
        pred_sem_seg=dict(data=seeds),
        gt_sem_seg=dict(data=torch.randint(0, classes, (1, height, width), generator=generator)),
        localization=dict(cam=cam, seeds=seeds),
        present=dict(classes=present, scores=torch.rand(classes - 1, generator=generator), given=torch.tensor(True)),
        image_labels=dict(multi_hot=labels),
    )


def evaluation(images: int, classes: int) -> list[dict[str, Any]]:
    """Resident memory after every tenth of so many simulated images of 480 x 640."""
    metric = CAMMetric()
    metric.dataset_meta = dict(classes=[str(index) for index in range(classes)])
    generator = torch.Generator().manual_seed(0)
    rows, start, counting = [], time.perf_counter(), 0.0
    for index in range(1, images + 1):
        sample = simulated_prediction(generator, classes, 480, 640)
        before = time.perf_counter()
        metric.process(None, [sample])
        counting += time.perf_counter() - before
        if index % max(1, images // 10) == 0:
            rows.append(dict(images=index, megabytes=resident_megabytes(), images_per_second=index / counting))
    metric.evaluate(images)
    print(f'{time.perf_counter() - start:.0f} s, simulating included', file=sys.stderr)
    return rows


# --- Loading ----------------------------------------------------------------------------------------------------------


def write_photographs(folder: Path, number: int, height: int, width: int) -> list[Path]:
    """JPEGs of smooth colours and some grain, about as large on disk as photographs."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(number):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse = coarse.resize((width, height), Image.BICUBIC)
        grain = random.normal(0, 8, (height, width, 3))
        paths.append(folder / f'{index}.jpg')
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def loading(images: int, repeats: int, config: str = CONFIG) -> list[dict[str, Any]]:
    """Images per second of one process: the training pipeline, and decoding and the same resize alone."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    pipeline = Compose(cfg.train_pipeline)
    longest = cfg.train_pipeline[1]
    with tempfile.TemporaryDirectory() as name:
        paths = write_photographs(Path(name), images, 375, 500)  # as VOC's

        def whole() -> None:
            np.random.seed(0)
            for path in paths:
                pipeline(dict(img_path=str(path), seg_fields=[], image_labels=[0, 3], num_classes=21))

        def alone() -> None:
            np.random.seed(0)
            for path in paths:
                image = mmcv.imfrombytes(path.read_bytes())
                scale = np.random.randint(longest.min_long, longest.max_long + 1) / max(image.shape[:2])
                size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
                mmcv.imresize(image, size, backend='pillow', interpolation='bicubic')

        times = take_turns({'decode and resize': alone, 'pipeline': whole}, repeats, 'cpu')
    shares = [floor / mine for floor, mine in zip(times['decode and resize'], times['pipeline'], strict=True)]
    return [
        dict(name=key, images_per_second=images / statistics.median(seconds), share=share)
        for (key, seconds), share in zip(times.items(), (1.0, statistics.median(shares)), strict=True)
    ]


# --- The command ------------------------------------------------------------------------------------------------------

BUILDERS = {'step': step_contestants, 'inference': inference_contestants}
NAMES = {'step': ('encoder', 'here', 'transcription'), 'inference': ('encoder', 'here', 'encoder_unfolded')}
GROWTH = {
    'classes': (21, 81, 201, 1001),
    'size': (256, 512, 1024, 2048),
    'batch': (1, 2, 4, 8),
}


def plot(rows: Sequence[dict[str, Any]], along: str, path: Path) -> None:
    """Seconds and memory against the number that grows."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, key in zip(axes, ('seconds', 'megabytes'), strict=True):
        for name in dict.fromkeys(row['name'] for row in rows):
            mine = [row for row in rows if row['name'] == name]
            axis.loglog([row[along] for row in mine], [row[key] for row in mine], marker='o', label=name)
        values = sorted({row[along] for row in rows})
        axis.set_xticks(values, [str(value) for value in values])
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
        axis.grid(alpha=0.3)
        axis.set_xlabel({'size': 'side of the image, pixels'}.get(along, along))
        axis.set_ylabel(key)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('step', 'inference', 'labels', 'evaluation', 'loading', 'growth'))
    parser.add_argument('--classes', type=int, nargs='+', default=[21], help='background included')
    parser.add_argument('--size', type=int, default=512, help='side of the images in pixels')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', choices=('off', *AMP), default='off')
    parser.add_argument('--along', choices=tuple(GROWTH), default='classes', help='what grows')
    parser.add_argument('--values', type=int, nargs='+', help='its values')
    parser.add_argument('--without', nargs='+', default=[], choices=('here', 'transcription'), help='leave these out')
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', type=Path, help='file for the figures')
    parser.add_argument('--plot', type=Path, help='picture of growth')
    args = parser.parse_args()
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        parser.error(f'--device {args.device}: PyTorch sees no GPU here')
    if args.plot and args.what != 'growth':
        parser.error(f'--plot shows how something grows: {args.what} has nothing to plot')
    for path in filter(None, (args.json, args.plot)):
        if not path.parent.is_dir():
            parser.error(f'{path}: there is no folder {path.parent}')
    if args.what == 'labels' and args.images % args.batch:
        parser.error(f'--images {args.images} is no multiple of --batch {args.batch}')
    classes = [*args.classes, *(args.values or () if args.along == 'classes' else ())]
    if min(classes) < PRESENT + 1 or min(args.values or [1]) < 1:
        parser.error(f'--classes must be at least {PRESENT + 1}, background included, and --values at least 1')
    return args


def main() -> int:
    args = parse_args()
    settings = dict(size=args.size, batch=args.batch, device=args.device, amp=args.amp)
    rows: list[dict[str, Any]] = []
    if args.what == 'evaluation':
        with redirect_stdout(sys.stderr):  # the metric's tables
            rows = evaluation(args.images, args.classes[0])
    elif args.what == 'labels':
        with redirect_stdout(sys.stderr):  # the tool's own words
            rows = labels(args.images, settings, args.repeats)
    elif args.what == 'loading':
        rows = loading(args.images, args.repeats)
    else:
        what = 'step' if args.what == 'growth' else args.what
        names = [name for name in NAMES[what] if name not in args.without]
        variants = [dict(classes=classes) for classes in args.classes]
        if args.what == 'growth':
            variants = [{'classes': args.classes[0], args.along: each} for each in args.values or GROWTH[args.along]]
        for variant in variants:
            rows += measure(BUILDERS[what], {**settings, **variant}, names, args.repeats)
            print(markdown_table(rows), file=sys.stderr)
    print(f'{machine(args.device)}\n\n{markdown_table(rows)}')
    if args.json:
        args.json.write_text(json.dumps(dict(machine=machine(args.device), command=sys.argv, rows=rows), indent=2))
    if args.plot:
        plot(rows, args.along, args.plot)
    return 0


if __name__ == '__main__':
    sys.exit(main())
