"""Draws what a trained model finds: image, CAM, IS-CAM, seeds, prototypes, label map and ground truth side by side.

    %(prog)s work_dirs/my_run --out work_dirs/overlays --num 16
    %(prog)s CONFIG CHECKPOINT --out work_dirs/overlays --ids 2007_000032 2007_000033

Takes images of the config's test_dataloader and predicts them at several scales, mirrored, as tools/test.py --tta does.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import add_config_changes, add_model, command_parser, find_model, positive, read_config


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_model(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures, one PNG for each image')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--num', type=positive, default=8, help='number of images, from the first one on (default: 8)')
    which.add_argument('--ids', nargs='+', metavar='ID', help='ids of the images')
    parser.add_argument('--gallery', type=Path, metavar='FILE', help='one picture of all of them as well (PNG)')
    parser.add_argument('--device', default='cpu', help='where to run the model, such as cuda (default: cpu)')
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Draw the pictures."""
    args = parse_args(words, prog)
    path, checkpoint = find_model(args.config, args.checkpoint)
    config = read_config(path, args.cfg_options)
    from sipe_mmseg.visualization import draw_gallery

    panels = draw_gallery(
        config, checkpoint, args.out, num=args.num, image_ids=args.ids, gallery=args.gallery, device=args.device
    )
    for panel in panels:
        print(panel, flush=True)
    return 0
