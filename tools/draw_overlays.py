"""Draws what a trained model finds: image, CAM, IS-CAM, seeds, prototypes, label map and ground truth side by side.

    python tools/draw_overlays.py CONFIG CHECKPOINT --out work_dirs/overlays --num 16

Takes images of the config's test_dataloader and predicts them at several scales, mirrored, as tools/test.py --tta does.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.visualization import draw_gallery


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw what a trained model finds, side by side')
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures, one PNG for each image')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--num', type=int, default=8, help='number of images, from the first one on (default: 8)')
    which.add_argument('--ids', nargs='+', metavar='ID', help='ids of the images')
    parser.add_argument('--gallery', type=Path, metavar='FILE', help='one picture of all of them as well (PNG)')
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
        panels = draw_gallery(
            config,
            args.checkpoint,
            args.out,
            num=args.num,
            image_ids=args.ids,
            gallery=args.gallery,
            device=args.device,
        )
        for path in panels:
            print(path, flush=True)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
