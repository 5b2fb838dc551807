"""Writes the built-in data set, in the layout of PASCAL VOC 2012 or as an ordinary folder of pictures.

    %(prog)s data/shapes
    %(prog)s data/pictures --layout folder --classes stripes rings dots

Does nothing if the folder holds that very set already.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import command_parser


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    from sipe_mmseg.datasets.shapes import CLASSES, ShapesSettings

    default = ShapesSettings()
    parser = command_parser(prog, __doc__)
    parser.add_argument('root', type=Path, help='folder to write')
    parser.add_argument('--num-train', type=int, default=default.num_train, help='pictures to train on (%(default)s)')
    parser.add_argument('--num-val', type=int, default=default.num_val, help='pictures to score on (%(default)s)')
    parser.add_argument('--size', type=int, default=default.size, help='longer side in pixels (%(default)s)')
    parser.add_argument('--seed', type=int, default=default.seed, help='seed of the whole set (%(default)s)')
    parser.add_argument(
        '--layout',
        choices=('voc', 'folder'),
        default=default.layout,
        help='that of PASCAL VOC 2012, or a folder of pictures with a CSV of their classes (%(default)s)',
    )
    parser.add_argument(
        '--classes', nargs='+', choices=CLASSES[1:], default=default.classes, help='some of the classes (all)'
    )
    return parser.parse_args(words)


def report(done: int, total: int) -> None:
    """Print how far it is, now and then."""
    if done % 100 == 0 or done == total:
        print(f'{done} of {total} pictures', flush=True)


def main(words: Sequence[str], prog: str) -> int:
    """Write the set."""
    args = parse_args(words, prog)
    from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes

    settings = ShapesSettings(
        num_train=args.num_train,
        num_val=args.num_val,
        size=args.size,
        seed=args.seed,
        classes=tuple(args.classes),
        layout=args.layout,
    )
    written = write_shapes(args.root, settings, report)
    print(f'{args.root}: {"written" if written else "was complete already"}')
    return 0
