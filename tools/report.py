"""Writes an HTML page about a folder of label maps: figures, classes, confusion, best and worst images, settings.

    python tools/report.py work_dirs/labels --dataset voc12 --split train --out report.html
    python tools/report.py work_dirs/labels --dataset voc12 --split train --cam-dir work_dirs/cams --out report.html
    python tools/report.py work_dirs/cams --dataset voc12 --split train --cams --out report.html
    python tools/report.py work_dirs/labels --dataset voc12 --split trainaug --no-masks --out report.html

The page is one file, opens from disk and needs no network. Every image of the split must be in the folder. Images
without masks (--no-masks, or a data set that names none) get statistics of their labels and pictures. CAM files
(--cams, --cam-dir) add a threshold curve.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.engine.progress import Progress
from sipe_mmseg.engine.splits import build_dataset, load_config, split_config, without_masks
from sipe_mmseg.report import collect_label_report, write_label_report

SHIPPED = Path(__file__).resolve().parent.parent / 'configs/_base_/datasets'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write an HTML page about a folder of label maps',
        epilog='example: python tools/report.py work_dirs/labels --dataset voc12 --split train --out report.html',
    )
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
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FILE', help='the page to write, such as report.html'
    )
    cams = parser.add_mutually_exclusive_group()
    cams.add_argument('--cams', action='store_true', help='the folder holds CAM files <image id>.npz')
    cams.add_argument(
        '--cam-dir', type=Path, metavar='DIR', help='CAM files of the same images, for the threshold curve and pictures'
    )
    parser.add_argument('--no-masks', action='store_true', help='statistics alone, although the data set names masks')
    parser.add_argument(
        '--ignore-unknown', action='store_true', help='leave pixels labelled 255 out; otherwise they are wrong'
    )
    parser.add_argument(
        '--max-images',
        type=int,
        default=1000,
        metavar='N',
        help='show no more images than these, the worst and the best; figures are always of all (default: %(default)s)',
    )
    parser.add_argument('--title', help="title of the page (default: the folder's name)")
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args()
    if args.max_images < 1:
        parser.error('--max-images must be at least 1')
    return args


def main() -> int:
    args = parse_args()
    try:
        config = load_config(args.dataset, SHIPPED, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        dataset_config = split_config(config, args.split)
        if args.no_masks:
            dataset_config = without_masks(dataset_config)
        dataset = build_dataset(dataset_config, config.get('splits', {}))
        with Progress(len(dataset) + min(len(dataset), args.max_images)) as progress:
            report = collect_label_report(
                dataset,
                args.folder,
                title=args.title,
                cams=args.cams,
                cam_dir=args.cam_dir,
                ignore_unknown=args.ignore_unknown,
                max_images=args.max_images,
                on_images=progress.advance,
            )
        write_label_report(args.out, report)
        print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; open it in a browser')
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
