"""Refines a folder of label maps by the dense CRF, or turns a folder of CAM files into IR labels, on all cores.

    %(prog)s crf voc12 work_dirs/labels --split trainaug --out work_dirs/labels_crf
    %(prog)s ir voc12 work_dirs/cams --split trainaug --out work_dirs/ir_labels

IR labels are what IRN learns from: confident foreground, 0 for confident background, 255 for the rest. Needs the extra
`crf`. Files appear complete or not at all; the same command again writes what is missing and nothing else.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import (
    add_config_changes,
    add_dataset,
    add_new_label_folder,
    add_split,
    command_parser,
    load_dataset,
    positive,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    from sipe_mmseg.engine.label_refinement import BACKGROUND_SCALE, METHODS, crf_settings
    from sipe_mmseg.processors import num_processors

    parser = command_parser(prog, __doc__)
    parser.add_argument('method', choices=METHODS, help='crf: label maps to label maps; ir: CAM files to IR labels')
    add_dataset(parser, 'config')
    parser.add_argument('source', type=Path, help='folder of label maps (crf) or CAM files (ir)')
    add_split(parser)
    add_new_label_folder(parser)
    parser.add_argument(
        '--jobs',
        type=positive,
        default=num_processors(),
        help='images at a time (default: %(default)s, all processors that it may use)',
    )
    parser.add_argument(
        '--background-scale',
        type=float,
        help=f'factor of the background channel for confident background (ir, default: {BACKGROUND_SCALE})',
    )
    parser.add_argument(
        '--thresholds',
        type=float,
        nargs=2,
        metavar=('FG', 'BG'),
        help='for confident foreground and background, shares of the largest value: in place of the background '
        'channel, which then only holds the classes back (ir)',
    )
    for name, default in crf_settings().items():
        parser.add_argument(
            f'--{name.replace("_", "-")}', type=type(default), default=default, help='of the CRF (%(default)s)'
        )
    add_config_changes(parser)
    args = parser.parse_args(words)
    if args.method == 'crf' and (args.thresholds or args.background_scale is not None):
        parser.error('--thresholds and --background-scale are for ir: the CRF alone has no such numbers')
    if args.thresholds and args.background_scale is not None:
        parser.error('--thresholds takes the place of --background-scale: leave one of them out')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """Write what is missing."""
    args = parse_args(words, prog)
    from sipe_mmseg.datasets.atomic_write import check_writable_folder
    from sipe_mmseg.engine.label_refinement import BACKGROUND_SCALE, crf_settings, refine_labels

    check_writable_folder(args.out)
    written = refine_labels(
        args.method,
        load_dataset(args.config, args.split, args.cfg_options, masks=False),
        args.source,
        args.out,
        crf={name: getattr(args, name) for name in crf_settings()},
        background_scale=BACKGROUND_SCALE if args.background_scale is None else args.background_scale,
        thresholds=None if args.thresholds is None else tuple(args.thresholds),
        overwrite=args.overwrite,
        jobs=args.jobs,
    )
    print(f'{args.out}: {written.new} of {written.total} images written, the others were there already')
    return 0
