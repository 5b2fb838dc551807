"""Writes a folder of label maps in the format of an annotation tool, so that people can correct them.

    python tools/export_labels.py work_dirs/labels --dataset voc12 --split train --format cvat --out cvat
    python tools/export_labels.py work_dirs/labels --dataset voc12 --split train --format labelme --out labelme

tools/import_labels.py makes label maps of what comes back. See docs/interchange.md.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.engine.label_exchange import FORMATS, export_labels
from sipe_mmseg.engine.splits import build_dataset, load_config, split_config, without_masks

SHIPPED = Path(__file__).resolve().parent.parent / 'configs/_base_/datasets'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write label maps in the format of an annotation tool')
    parser.add_argument('folder', type=Path, help='folder of label maps <image id>.png')
    parser.add_argument(
        '--dataset',
        required=True,
        metavar='CONFIG',
        help='config with the data set, or the name of a shipped one: voc12, coco14, ...',
    )
    parser.add_argument(
        '--split', help="split of the config's test data set: a name in its `splits`, or a list (default: as it is)"
    )
    parser.add_argument('--format', required=True, choices=FORMATS, help='what to write')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write; it must be a new one')
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
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args()
    if args.tolerance < 0:
        parser.error('--tolerance must be 0 or more')
    if (args.format != 'labelme' or args.shapes == 'mask') and args.tolerance:
        parser.error('--tolerance is for the polygons of --format labelme')
    return args


def main() -> int:
    args = parse_args()
    try:
        config = load_config(args.dataset, SHIPPED, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        dataset = build_dataset(without_masks(split_config(config, args.split)), config.get('splits', {}))
        number = export_labels(
            args.format, dataset, args.folder, args.out, shapes=args.shapes, tolerance=args.tolerance
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.out}: label maps of {number} images')
    return 0


if __name__ == '__main__':
    sys.exit(main())
