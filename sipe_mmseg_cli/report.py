"""Writes an HTML page about a folder of label maps: figures, classes, confusion, best and worst images, settings.

Or about a training: losses, learning rate and scores as curves, pictures of the growing maps, config. Or about both.

    %(prog)s work_dirs/labels --dataset voc12 --split train --out report.html
    %(prog)s work_dirs/labels --dataset voc12 --split train --run work_dirs/my_run --out report.html
    %(prog)s --run work_dirs/my_run --out report.html
    %(prog)s work_dirs/labels --dataset voc12 --split train --cam-dir work_dirs/cams --out report.html
    %(prog)s work_dirs/cams --dataset voc12 --split train --cams --out report.html
    %(prog)s work_dirs/labels --dataset voc12 --split trainaug --no-masks --out report.html

The page is one file, opens from disk and needs no network. Every image of the split must be in the folder. Images
without masks (--no-masks, or a data set that names none) get statistics of their labels and pictures. CAM files
(--cams, --cam-dir) add a threshold curve.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .arguments import (
    add_config_changes,
    add_dataset,
    add_ignore_unknown,
    add_label_folder,
    add_split,
    command_parser,
    load_dataset,
    positive,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_label_folder(parser, nargs='?')
    parser.add_argument('--run', type=Path, metavar='WORK_DIR', help='work directory of a training')
    add_dataset(parser, required=False)
    add_split(parser)
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FILE', help='the page to write, such as report.html'
    )
    cams = parser.add_mutually_exclusive_group()
    cams.add_argument('--cams', action='store_true', help='the folder holds CAM files <image id>.npz')
    cams.add_argument(
        '--cam-dir', type=Path, metavar='DIR', help='CAM files of the same images, for the threshold curve and pictures'
    )
    parser.add_argument('--no-masks', action='store_true', help='statistics alone, although the data set names masks')
    add_ignore_unknown(parser)
    parser.add_argument(
        '--max-images',
        type=positive,
        default=1000,
        metavar='N',
        help='show no more images than these, the worst and the best; figures are always of all (default: %(default)s)',
    )
    parser.add_argument('--title', help="title of the page (default: the folder's name)")
    add_config_changes(parser)
    args = parser.parse_args(words)
    if args.folder is None and args.run is None:
        parser.error('name a folder of label maps, or a work directory with --run, or both')
    if args.folder is not None and args.dataset is None:
        parser.error('a folder of label maps needs --dataset, which says what its images and classes are')
    if args.folder is None and (args.dataset or args.split or args.cams or args.cam_dir):
        parser.error('--dataset, --split, --cams and --cam-dir are for a folder of label maps, and none is named')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """Write the page."""
    args = parse_args(words, prog)
    dataset = None
    if args.folder is not None:
        dataset = load_dataset(args.dataset, args.split, args.cfg_options, masks=not args.no_masks)
    import sipe_mmseg  # noqa: F401  # first: it makes MMSegmentation importable with mmcv-lite
    from sipe_mmseg.datasets.atomic_write import check_writable
    from sipe_mmseg.engine.progress import Progress
    from sipe_mmseg.report import collect_label_report, collect_run_report, write_label_report, write_run_report

    check_writable(args.out)
    run = None if args.run is None else collect_run_report(args.run)
    if dataset is not None:
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
        write_label_report(args.out, report, run)
    elif run is not None:
        write_run_report(args.out, run if args.title is None else replace(run, title=args.title))
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; open it in a browser')
    return 0
