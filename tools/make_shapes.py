"""Writes the built-in data set, in the layout of PASCAL VOC 2012 or as an ordinary folder of pictures.

    python tools/make_shapes.py data/shapes
    python tools/make_shapes.py data/pictures --layout folder --classes stripes rings dots

Does nothing if the folder holds that very set already.
"""

import argparse
import sys
from pathlib import Path

from sipe_mmseg.datasets.shapes import CLASSES, ShapesSettings, write_shapes


def parse_args() -> argparse.Namespace:
    default = ShapesSettings()
    parser = argparse.ArgumentParser(description='Write the built-in data set')
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
    return parser.parse_args()


def report(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        print(f'{done} of {total} pictures', flush=True)


def main() -> int:
    args = parse_args()
    settings = ShapesSettings(
        num_train=args.num_train,
        num_val=args.num_val,
        size=args.size,
        seed=args.seed,
        classes=tuple(args.classes),
        layout=args.layout,
    )
    try:
        written = write_shapes(args.root, settings, report)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.root}: {"written" if written else "was complete already"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
