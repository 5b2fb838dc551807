"""Draws the maps of other methods beside ours (image, CAM, IS-CAM, each method), and scores them where there are masks.

    python tools/compare_cams.py CONFIG CHECKPOINT --methods GradCAM LayerCAM EigenCAM --out work_dirs/compared

The methods are those of pytorch-grad-cam (pip install grad-cam) on our classifier, at one scale. mIoU is that of the
threshold which suits the masks of these very images best: an upper bound, not a result. IS-CAM needs no threshold.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.apis.cam_comparison import compare_cams
from sipe_mmseg.datasets.atomic_write import atomic_write


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw and score the maps of other methods beside ours')
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument(
        '--methods', nargs='+', required=True, metavar='METHOD', help='methods of pytorch-grad-cam, such as GradCAM'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures, one PNG for each image')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--num', type=int, default=8, help='number of images, from the first one on (default: 8)')
    which.add_argument('--ids', nargs='+', metavar='ID', help='ids of the images')
    which.add_argument('--all', action='store_true', help='all images of the test data set')
    parser.add_argument('--json', type=Path, metavar='FILE', help='file for the figures')
    parser.add_argument('--device', default='cpu', help='where to run the model, such as cuda (default: cpu)')
    args = parser.parse_args()
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


def main() -> int:
    args = parse_args()
    try:
        config = Config.fromfile(args.config)
        init_default_scope(config.get('default_scope', 'mmseg'))
        comparison = compare_cams(
            config,
            args.checkpoint,
            args.out,
            args.methods,
            num=None if args.all else args.num,
            image_ids=args.ids,
            device=args.device,
        )
        if args.json is not None:
            with atomic_write(args.json) as temporary:
                content = {name: asdict(score) for name, score in comparison.scores.items()}
                temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.out}: pictures of {comparison.num_images} images')
    if comparison.scores:
        print(f'mIoU at the best threshold, picked on the ground truth:\n{comparison.table()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
