"""Draws what a trained model finds: image, CAM, IS-CAM, seeds, prototypes, label map and ground truth side by side.

    %(prog)s work_dirs/my_run --out work_dirs/overlays --num 16
    %(prog)s CONFIG CHECKPOINT --out work_dirs/overlays --ids 2007_000032 2007_000033

Takes images of the config's test_dataloader and predicts them at several scales, mirrored, as tools/test.py --tta does.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import (
    add_config_changes,
    add_device,
    add_drawn_images,
    add_model,
    command_parser,
    find_model,
    read_config,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_model(parser)
    add_drawn_images(parser)
    parser.add_argument('--gallery', type=Path, metavar='FILE', help='one picture of all of them as well (PNG)')
    add_device(parser)
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Draw the pictures."""
    args = parse_args(words, prog)
    path, checkpoint = find_model(args.config, args.checkpoint)
    config = read_config(path, args.cfg_options)
    from mmengine.device import get_device

    from sipe_mmseg.visualization import draw_gallery

    panels = draw_gallery(
        config,
        checkpoint,
        args.out,
        num=args.num,
        image_ids=args.ids,
        gallery=args.gallery,
        device=args.device or get_device(),
    )
    for panel in panels:
        print(panel, flush=True)
    return 0
