"""Writes a folder of label maps in the format of an annotation tool, so that people can correct them.

    %(prog)s work_dirs/labels --dataset voc12 --split train --format cvat --out cvat
    %(prog)s work_dirs/labels --dataset voc12 --split train --format labelme --out labelme

`sipe-mmseg import` makes label maps of what comes back. See docs/interchange.md.
"""

import argparse
from collections.abc import Sequence

from .arguments import add_config_changes, add_exchange, add_label_folder, command_parser, load_dataset


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_label_folder(parser)
    add_exchange(parser, 'write')
    parser.add_argument(
        '--shapes', choices=('polygon', 'mask'), default='polygon', help='of labelme (default: %(default)s)'
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='how far polygons may leave the border, to have fewer points (labelme, default: 0, exact)',
    )
    add_config_changes(parser)
    args = parser.parse_args(words)
    if args.tolerance < 0:
        parser.error('--tolerance must be 0 or more')
    if (args.format != 'labelme' or args.shapes == 'mask') and args.tolerance:
        parser.error('--tolerance is for the polygons of --format labelme')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """Write the folder."""
    args = parse_args(words, prog)
    dataset = load_dataset(args.dataset, args.split, args.cfg_options, masks=False)
    from sipe_mmseg.engine.label_exchange import export_labels

    number = export_labels(args.format, dataset, args.folder, args.out, shapes=args.shapes, tolerance=args.tolerance)
    print(f'{args.out}: label maps of {number} images')
    return 0
