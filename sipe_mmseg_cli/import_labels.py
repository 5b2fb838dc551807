"""Makes a folder of label maps of what people drew in an annotation tool.

    %(prog)s export.zip --dataset voc12 --split train --format cvat --out work_dirs/corrected
    %(prog)s work_dirs/labelme --dataset voc12 --split train --format labelme \\
        --base work_dirs/labels --out work_dirs/corrected

Shapes are drawn on background, later ones over earlier ones. With --base, images that nobody drew on keep the label
maps that they have there. See docs/interchange.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import add_config_changes, add_exchange, command_parser, load_dataset


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('source', type=Path, help="file of COCO or CVAT (also its zip), or folder of labelme's files")
    add_exchange(parser, 'read')
    parser.add_argument('--base', type=Path, metavar='DIR', help='label maps of the images that are not in the source')
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Write the folder."""
    args = parse_args(words, prog)
    dataset = load_dataset(args.dataset, args.split, args.cfg_options, masks=False)
    from sipe_mmseg.engine.label_exchange import import_labels

    written = import_labels(args.format, dataset, args.source, args.out, base=args.base)
    print(f'{args.out}: label maps of {written.total} images, {written.new} of them from {args.source}')
    return 0
