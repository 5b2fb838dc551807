"""Scores a folder of label maps: mIoU, IoU of each class, false positives and negatives, unknown pixels.

    %(prog)s work_dirs/labels --dataset voc12 --split train
    %(prog)s work_dirs/ir_labels --dataset voc12 --split train --ignore-unknown
    %(prog)s work_dirs/cams --dataset voc12 --split train --cams

All pixels count into one confusion matrix, void pixels of the masks are left out. Every image of the split must be in
the folder. A pixel labelled 255 is wrong, unless --ignore-unknown leaves it out. With --cams the argmax of CAM files is
scored: the difference to the label maps written along with them is what their stride and half precision cost.
"""

import argparse
from collections.abc import Sequence

from .arguments import (
    add_config_changes,
    add_dataset,
    add_figures_file,
    add_ignore_unknown,
    add_label_folder,
    add_split,
    command_parser,
    load_dataset,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_label_folder(parser)
    add_dataset(parser)
    add_split(parser)
    parser.add_argument('--cams', action='store_true', help='the folder holds CAM files <image id>.npz')
    add_ignore_unknown(parser)
    add_figures_file(parser)
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Score the folder and print the table."""
    args = parse_args(words, prog)
    dataset = load_dataset(args.dataset, args.split, args.cfg_options)
    from sipe_mmseg.datasets.atomic_write import check_writable, write_json
    from sipe_mmseg.engine.progress import Progress
    from sipe_mmseg.evaluation.label_scores import score_labels

    if args.json is not None:
        check_writable(args.json)
    with Progress(len(dataset)) as progress:
        scores = score_labels(
            dataset, args.folder, cams=args.cams, ignore_unknown=args.ignore_unknown, on_images=progress.advance
        )
    print(f'{scores.table()}\n{scores.summary()}')
    if args.json is not None:
        write_json(args.json, scores.figures())
    return 0
