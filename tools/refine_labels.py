"""Refines a folder of label maps by the dense CRF, or turns a folder of CAM files into IR labels, on all cores.

    python tools/refine_labels.py crf voc12 work_dirs/labels --split trainaug --out work_dirs/labels_crf
    python tools/refine_labels.py ir voc12 work_dirs/cams --split trainaug --out work_dirs/ir_labels

IR labels are what IRN learns from: confident foreground, 0 for confident background, 255 for the rest. Needs the extra
`crf`. Files appear complete or not at all; the same command again writes what is missing and nothing else.
"""

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.engine.label_refinement import BACKGROUND_SCALE, METHODS, crf_settings, refine_labels
from sipe_mmseg.engine.splits import build_dataset, load_config, split_config, without_masks

SHIPPED = Path(__file__).resolve().parent.parent / 'configs/_base_/datasets'


def num_processors() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Refine label maps by the dense CRF, or make IR labels of CAM files')
    parser.add_argument('method', choices=METHODS, help='crf: label maps to label maps; ir: CAM files to IR labels')
    parser.add_argument('config', help='config with the data set, or the name of a shipped one: voc12, coco14, ...')
    parser.add_argument('source', type=Path, help='folder of label maps (crf) or CAM files (ir)')
    parser.add_argument(
        '--split', help="split of the config's test data set: a name in its `splits`, or a list (default: as it is)"
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the label maps')
    parser.add_argument(
        '--jobs', type=int, default=num_processors(), help='images at a time (default: %(default)s, all processors)'
    )
    parser.add_argument('--overwrite', action='store_true', help='remove files made with other settings first')
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
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    if args.method == 'crf' and (args.thresholds or args.background_scale is not None):
        parser.error('--thresholds and --background-scale are for ir: the CRF alone has no such numbers')
    if args.thresholds and args.background_scale is not None:
        parser.error('--thresholds takes the place of --background-scale: leave one of them out')
    return args


def main() -> int:
    args = parse_args()
    try:
        config = load_config(args.config, SHIPPED, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        dataset = build_dataset(without_masks(split_config(config, args.split)), config.get('splits', {}))
        written = refine_labels(
            args.method,
            dataset,
            args.source,
            args.out,
            crf={name: getattr(args, name) for name in crf_settings()},
            background_scale=BACKGROUND_SCALE if args.background_scale is None else args.background_scale,
            thresholds=None if args.thresholds is None else tuple(args.thresholds),
            overwrite=args.overwrite,
            jobs=args.jobs,
        )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.out}: {written.new} of {written.total} images written, the others were there already')
    return 0


if __name__ == '__main__':
    sys.exit(main())
