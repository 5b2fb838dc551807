"""Makes the pictures of docs/method.md: what each step of SIPE does to one picture of the built-in set.

    python docs/make_method_pictures.py

Makes the set and trains twice, with and without the consistency loss, unless WORK_DIR has the trainings already: some
five minutes of two cores. Every map comes from the functions of sipe_mmseg.models.prototypes that training and
inference use.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image, ImageDraw
from torch import Tensor

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.datasets.atomic_write import atomic_write
from sipe_mmseg.models import SIPESegmentor
from sipe_mmseg.models.multi_scale_fusion import fuse_scales
from sipe_mmseg.models.prototypes import (
    class_activation_maps,
    image_specific_cams,
    image_specific_prototypes,
    normalize_by_max,
    soft_iou,
    structure_aware_seeds,
)
from sipe_mmseg.models.sipe_head import SIPEFeatures
from sipe_mmseg.models.sipe_segmentor import resize_classes
from sipe_mmseg.visualization.gallery import NO_CLASS
from sipe_mmseg.visualization.overlays import ByteImage, blend_heat, blend_labels, colour_labels, panel

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
TRAININGS: dict[str, list[str]] = {'with_gsc': [], 'without_gsc': ['model.decode_head.loss_gsc=None']}
SCALES = (0.5, 1.0, 1.5, 2.0)
STEP_SCALE = 2.0  # the steps are shown at this scale: 20 x 16 cells can be looked at, 10 x 8 hardly
EPOCHS = (1, 2, 4, 6)


class Picture:
    """One picture of the set at several scales, and its maps by a model.

    Args:
        config: Config of the model and the set.
        image_id: Which picture of the test set.
    """

    def __init__(self, config: Config, image_id: str) -> None:
        dataset = DATASETS.build({**config.test_dataloader.dataset, 'pipeline': config.tta_pipeline})
        ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
        info = dataset.get_data_info(ids.index(image_id))
        self.image: ByteImage = np.asarray(Image.open(info['img_path']).convert('RGB'))
        self.truth = np.asarray(Image.open(info['seg_map_path']))
        self.size = self.truth.shape
        self.names, self.palette = dataset.metainfo['classes'], dataset.metainfo['palette']
        self.classes = [label + 1 for label in info['image_labels']]
        self.data = pseudo_collate([dataset[ids.index(image_id)]])

    def inputs(self, model: SIPESegmentor, scale: float) -> Tensor:
        """The preprocessed picture (1, 3, H, W) at a scale of ``SCALES``."""
        index = SCALES.index(scale)
        widths = sorted(inputs[0].shape[-1] for inputs in self.data['inputs'])
        for inputs, samples in zip(self.data['inputs'], self.data['data_samples'], strict=True):
            if inputs[0].shape[-1] == widths[index]:
                return model.data_preprocessor(dict(inputs=inputs, data_samples=samples), False)['inputs']
        raise ValueError(f'tta_pipeline has no scale {scale}')

    def features(self, model: SIPESegmentor, scale: float) -> SIPEFeatures:
        """Classifier's maps and hierarchical feature, the sum of picture and mirror, as inference has them."""
        inputs = self.inputs(model, scale)
        both = model.decode_head(model.extract_feat(torch.cat([inputs, inputs.flip(-1)])))
        image, mirror = (SIPEFeatures(*parts) for parts in zip(*(x.chunk(2) for x in both), strict=True))
        return image._replace(
            logits=image.logits + mirror.logits.flip(-1),
            hierarchical=image.hierarchical + mirror.hierarchical.flip(-1),
        )

    def heat(self, cells: Tensor) -> ByteImage:
        """A map (h, w) in [0, 1] over the picture, cell by cell."""
        pixels = F.interpolate(cells[None, None], size=self.size, mode='nearest')[0, 0]
        return blend_heat(self.image, pixels.clamp(0, 1).numpy())

    def smooth(self, cells: Tensor) -> ByteImage:
        """The same, interpolated as for a label map."""
        pixels = F.interpolate(cells[None, None], size=self.size, mode='bilinear', align_corners=False)[0, 0]
        return blend_heat(self.image, pixels.clamp(0, 1).numpy())

    def labels(self, cells: Tensor) -> ByteImage:
        """Class indices (h, w) in their colours; 255 is grey."""
        pixels = resize_classes(cells[None], self.size)[0].numpy()
        return colour_labels(pixels, self.palette, void_colour=NO_CLASS)

    def marked(self, cell: tuple[int, int], grid: Sequence[int]) -> ByteImage:
        """The picture with a ring around a cell."""
        image = Image.fromarray(self.image)
        row, column = ((place + 0.5) * side / cells for place, side, cells in zip(cell, self.size, grid, strict=True))
        draw = ImageDraw.Draw(image)
        draw.ellipse((column - 6, row - 6, column + 6, row + 6), outline=(0, 0, 0), width=4)
        draw.ellipse((column - 5, row - 5, column + 5, row + 5), outline=(255, 255, 255), width=2)
        return np.asarray(image)

    def legend(self) -> list[tuple[str, Sequence[int]]]:
        return [(self.names[index], self.palette[index]) for index in (0, *self.classes)]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make the pictures of docs/method.md')
    parser.add_argument('--data-root', type=Path, default=Path('data/shapes'), help='of the set (%(default)s)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/method'), help='of trainings (%(default)s)')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/method', help='folder of the pictures (docs/method)')
    parser.add_argument('--image-id', default='val_0007', help='picture of the test set (%(default)s)')
    parser.add_argument('--epochs', type=int, default=EPOCHS[-1], help='of each training (%(default)s)')
    return parser.parse_args()


def train(work_dir: Path, data_root: Path, epochs: int) -> None:
    """Make the set and train what is not there yet.

    Raises:
        subprocess.CalledProcessError: If a command fails.
    """
    environment = {**os.environ, 'SHAPES_ROOT': str(data_root)}
    subprocess.run([sys.executable, ROOT / 'tools/make_shapes.py', data_root], check=True)  # noqa: S603  # our own tools
    for name, options in TRAININGS.items():
        if (work_dir / name / f'epoch_{epochs}.pth').is_file():
            continue
        command = [sys.executable, ROOT / 'tools/train.py', CONFIG, '--work-dir', work_dir / name, '--cfg-options']
        keep = ['default_hooks.checkpoint.max_keep_ckpts=-1', f'train_cfg.max_epochs={epochs}']
        no_validation = ['val_dataloader=None', 'val_cfg=None', 'val_evaluator=None']
        subprocess.run([*command, *keep, *no_validation, *options], check=True, env=environment)  # noqa: S603


def load_model(config: Config, checkpoint: Path) -> SIPESegmentor:
    model = MODELS.build(config.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    return model.eval()


def save(path: Path, rows: Sequence[Sequence[ByteImage]], captions: Sequence[str], **options: object) -> None:
    sheet = Image.fromarray(panel(rows, captions, font_size=14, **options))  # type: ignore[arg-type]
    with atomic_write(path) as temporary:
        sheet.quantize(256).save(temporary, format='PNG', optimize=True)
    print(f'{path}: {sheet.width} x {sheet.height}, {path.stat().st_size // 1000} kB', flush=True)


def spots(truth: np.ndarray, cam: Tensor, grid: Sequence[int], classes: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Cells to look at: the first class where its CAM is strongest, and where it is weakest, and the ground."""
    cells = F.interpolate(torch.from_numpy(truth.copy())[None, None].float(), size=tuple(grid), mode='nearest')[0, 0]
    first = classes[0]
    inner = F.max_pool2d((cells != first).float()[None], 3, 1, 1)[0] == 0  # not at the rim
    strongest = int((cam[first] * (cells == first)).argmax())
    weakest = int(torch.where(inner, cam[first], torch.inf).argmin())
    far = F.max_pool2d((cells != 0).float()[None], 7, 1, 3)[0] == 0
    rows, columns = torch.meshgrid(*(torch.arange(side) - side / 2 for side in grid), indexing='ij')
    ground = int(torch.where(far, rows.square() + columns.square(), torch.inf).argmin())
    places = {'head': strongest, 'body': weakest, 'ground': ground}
    return {name: (place // grid[1], place % grid[1]) for name, place in places.items()}


@torch.no_grad()
def draw_steps(picture: Picture, model: SIPESegmentor, out: Path) -> None:
    """Sections 3.1 to 3.3 at one scale, in the order in which one map comes out of the other."""
    alpha, head = 0.5, model.decode_head
    features = picture.features(model, STEP_SCALE)
    keys = [0, *picture.classes]
    names = [picture.names[key] for key in keys]
    cam = class_activation_maps(features.logits, head.eps)
    grid = cam.shape[-2:]
    present = torch.zeros(1, cam.shape[1], 1, 1)
    present[:, keys] = 1

    save(
        out / 'cam.png',
        [[picture.image, *(picture.heat(cam[0, key]) for key in keys)]],
        ['image', *(f'CAM, {name}' for name in names)],
    )

    structure_of = features.hierarchical[0].flatten(1)
    overlap = soft_iou(features.hierarchical, cam, head.eps)
    overlap[:, 0] *= alpha
    rows: list[list[ByteImage]] = [[], []]
    captions = []
    for name, cell in spots(picture.truth, cam[0], grid, picture.classes).items():
        chosen = features.hierarchical[0, :, cell[0], cell[1]]
        similarity = F.cosine_similarity(structure_of, chosen[:, None], dim=0).relu().view(*grid)
        rows[0].append(picture.marked(cell, grid))
        rows[1].append(picture.heat(similarity))
        values = ', '.join(f'{overlap[0, key, cell[0], cell[1]]:.2f}' for key in keys)
        captions.append(f'{name}: {values}')
    save(out / 'structure.png', rows, captions)

    seeds = structure_aware_seeds(features.hierarchical, cam, present, alpha, 'similarity', head.eps)
    winner = torch.where(seeds[0].any(dim=0), seeds[0].argmax(dim=0), 255)
    largest = overlap[0, keys].max()
    save(
        out / 'seeds.png',
        [[*(picture.heat(overlap[0, key] / largest) for key in keys), picture.labels(winner)]],
        [*(f'overlap, {name}' for name in names), 'seeds'],
        legend=[*picture.legend(), *([('none', NO_CLASS)] if (winner == 255).any() else [])],
    )

    prototypes = image_specific_prototypes(features.hierarchical, seeds)
    is_cam = image_specific_cams(features.hierarchical, prototypes)
    nearest = torch.where(is_cam[0].amax(dim=0) > 0, is_cam[0].argmax(dim=0), 255)
    save(
        out / 'is_cam.png',
        [[*(picture.heat(is_cam[0, key]) for key in keys), picture.labels(nearest)]],
        [*(f'IS-CAM, {name}' for name in names), 'nearest prototype'],
        legend=picture.legend(),
    )


@torch.no_grad()
def draw_training(picture: Picture, config: Config, work_dir: Path, epochs: Sequence[int], out: Path) -> None:
    """CAM and IS-CAM of the first class after some epochs, with the consistency loss, and the CAM without."""
    first = picture.classes[0]
    rows: list[list[ByteImage]] = [[], [], []]
    for epoch in epochs:
        for name in TRAININGS:
            model = load_model(config, work_dir / name / f'epoch_{epoch}.pth')
            features = picture.features(model, STEP_SCALE)
            cam = class_activation_maps(features.logits, model.decode_head.eps)[0, first]
            if name == 'without_gsc':
                rows[2].append(picture.heat(cam))
                continue
            labels = torch.zeros(1, features.logits.shape[1])
            labels[0, [key - 1 for key in picture.classes]] = 1
            maps, _, _ = model.decode_head.predict_by_feat(features, labels)
            rows[0].append(picture.heat(cam))
            rows[1].append(picture.heat(normalize_by_max(maps.is_cam[0, first])))
    save(out / 'gsc.png', rows, [f'epoch {epoch}' for epoch in epochs])


@torch.no_grad()
def draw_fusion(picture: Picture, model: SIPESegmentor, out: Path) -> None:
    """IS-CAM of the first class at each scale, their fusion, and the label map."""
    labels = torch.zeros(len(picture.names) - 1)
    labels[[key - 1 for key in picture.classes]] = 1
    scales = [model.localize(picture.inputs(model, scale), [labels], mirror=True)[0] for scale in SCALES]
    fused = fuse_scales([maps.is_cam for maps in scales], picture.size, model.decode_head.eps)
    save(
        out / 'scales.png',
        [[picture.smooth(maps.is_cam[1]) for maps in scales] + [blend_heat(picture.image, fused[1].numpy())]],
        [f'{scale:g} x' for scale in SCALES] + ['sum / maximum'],
    )
    sample = model.pack(SegDataSample(metainfo=dict(ori_shape=picture.size)), [scales[1], scales[0], *scales[2:]])
    label_map = sample.pred_sem_seg.data[0].numpy()
    save(
        out / 'label_map.png',
        [
            [
                *(blend_heat(picture.image, channel.numpy()) for channel in fused),
                blend_labels(picture.image, label_map, picture.palette),
                blend_labels(picture.image, picture.truth, picture.palette),
            ]
        ],
        [*(picture.names[key] for key in (0, *picture.classes)), 'label map', 'mask'],
        legend=picture.legend()[1:],
    )


def main() -> int:
    args = parse_args()
    try:
        train(args.work_dir, args.data_root, args.epochs)
        config = Config.fromfile(CONFIG)
        config.merge_from_dict({'test_dataloader.dataset.data_root': str(args.data_root)})
        init_default_scope('mmseg')
        picture = Picture(config, args.image_id)
        model = load_model(config, args.work_dir / f'with_gsc/epoch_{args.epochs}.pth')
        draw_steps(picture, model, args.out)
        shown = sorted({epoch for epoch in EPOCHS if epoch <= args.epochs} | {args.epochs})
        draw_training(picture, config, args.work_dir, shown, args.out)
        draw_fusion(picture, model, args.out)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
