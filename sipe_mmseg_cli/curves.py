"""Draws losses, learning rate, mIoU and mAP of a training as curves.

    %(prog)s work_dirs/my_run --out work_dirs/my_run/curves.png

Reads the logs of all starts of the run (*/vis_data/scalars.json), resumed ones joined.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import command_parser


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('work_dir', type=Path, help='work directory of the training, or the folder of one start in it')
    parser.add_argument('--out', type=Path, required=True, help='file for the picture (.png, .svg, .pdf)')
    parser.add_argument('--scores', nargs='+', metavar='NAME', help='scores to draw (default: mIoU mAP)')
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Draw the curves."""
    args = parse_args(words, prog)
    from sipe_mmseg.visualization.curves import draw_curves

    draw_curves(args.work_dir, args.out, args.scores)
    print(args.out)
    return 0
