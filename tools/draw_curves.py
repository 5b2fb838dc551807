"""Draws losses, learning rate, mIoU and mAP of a training as curves.

    python tools/draw_curves.py work_dirs/my_run --out work_dirs/my_run/curves.png

Reads the logs of all starts of the run (*/vis_data/scalars.json), resumed ones joined.
"""

import argparse
import sys
from pathlib import Path

import sipe_mmseg  # noqa: F401  # first: it makes MMSegmentation importable with mmcv-lite
from sipe_mmseg.visualization.curves import SCORES, draw_curves


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw losses, learning rate, mIoU and mAP of a training as curves')
    parser.add_argument('work_dir', type=Path, help='work directory of the training, or the folder of one start in it')
    parser.add_argument('--out', type=Path, required=True, help='file for the picture (.png, .svg, .pdf)')
    parser.add_argument(
        '--scores', nargs='+', metavar='NAME', default=list(SCORES), help='scores to draw (default: mIoU mAP)'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        draw_curves(args.work_dir, args.out, args.scores)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(args.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
