"""Makes a folder of label maps of what people drew in an annotation tool.

    python tools/import_labels.py export.zip --dataset voc12 --split train --format cvat --out work_dirs/corrected
    python tools/import_labels.py work_dirs/labelme --dataset voc12 --split train --format labelme \
        --base work_dirs/labels --out work_dirs/corrected

Shapes are drawn on background, later ones over earlier ones. With --base, images that nobody drew on keep the label
maps that they have there. See docs/interchange.md.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.engine.label_exchange import FORMATS, import_labels
from sipe_mmseg.engine.splits import build_dataset, load_config, split_config, without_masks

SHIPPED = Path(__file__).resolve().parent.parent / 'configs/_base_/datasets'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make label maps of what people drew in an annotation tool')
    parser.add_argument('source', type=Path, help="file of COCO or CVAT (also its zip), or folder of labelme's files")
    parser.add_argument(
        '--dataset',
        required=True,
        metavar='CONFIG',
        help='config with the data set, or the name of a shipped one: voc12, coco14, ...',
    )
    parser.add_argument(
        '--split', help="split of the config's test data set: a name in its `splits`, or a list (default: as it is)"
    )
    parser.add_argument('--format', required=True, choices=FORMATS, help='what to read')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write; it must be a new one')
    parser.add_argument('--base', type=Path, metavar='DIR', help='label maps of the images that are not in the source')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        config = load_config(args.dataset, SHIPPED, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        dataset = build_dataset(without_masks(split_config(config, args.split)), config.get('splits', {}))
        written = import_labels(args.format, dataset, args.source, args.out, base=args.base)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.out}: label maps of {written.total} images, {written.new} of them from {args.source}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
