"""Draws the maps of other methods beside ours (image, CAM, IS-CAM, each method), and scores them where there are masks.

    %(prog)s CONFIG CHECKPOINT --methods GradCAM LayerCAM EigenCAM --out work_dirs/compared

The methods are those of pytorch-grad-cam (pip install grad-cam) on our classifier, at one scale. mIoU is that of the
threshold which suits the masks of these very images best: an upper bound, not a result. IS-CAM needs no threshold.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from .arguments import (
    add_config_changes,
    add_device,
    add_drawn_images,
    add_figures_file,
    add_model,
    command_parser,
    find_model,
    read_config,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_model(parser)
    parser.add_argument(
        '--methods', nargs='+', required=True, metavar='METHOD', help='methods of pytorch-grad-cam, such as GradCAM'
    )
    which = add_drawn_images(parser)
    which.add_argument('--all', action='store_true', help='all images of the test data set')
    add_figures_file(parser)
    add_device(parser)
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Draw, score and print."""
    args = parse_args(words, prog)
    path, checkpoint = find_model(args.config, args.checkpoint)
    config = read_config(path, args.cfg_options)
    from mmengine.device import get_device

    from sipe_mmseg.apis.cam_comparison import compare_cams
    from sipe_mmseg.datasets.atomic_write import check_writable, check_writable_folder, write_json

    check_writable_folder(args.out)
    if args.json is not None:
        check_writable(args.json)
    comparison = compare_cams(
        config,
        checkpoint,
        args.out,
        args.methods,
        num=None if args.all else args.num,
        image_ids=args.ids,
        device=args.device or get_device(),
    )
    if args.json is not None:
        write_json(args.json, {name: asdict(score) for name, score in comparison.scores.items()})
    print(f'{args.out}: pictures of {comparison.num_images} images')
    if comparison.scores:
        print(f'mIoU at the best threshold, picked on the ground truth:\n{comparison.table()}')
    return 0
