"""Scores a folder of label maps: mIoU, IoU of each class, false positives and negatives, unknown pixels.

    python tools/evaluate_labels.py work_dirs/labels --dataset voc12 --split train
    python tools/evaluate_labels.py work_dirs/ir_labels --dataset voc12 --split train --ignore-unknown
    python tools/evaluate_labels.py work_dirs/cams --dataset voc12 --split train --cams

All pixels count into one confusion matrix, void pixels of the masks are left out. Every image of the split must be in
the folder. A pixel labelled 255 is wrong, unless --ignore-unknown leaves it out. With --cams the argmax of CAM files is
scored: the difference to the label maps written along with them is what their stride and half precision cost.
"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.datasets.atomic_write import atomic_write
from sipe_mmseg.engine.progress import Progress
from sipe_mmseg.engine.splits import build_dataset, load_config, split_config
from sipe_mmseg.evaluation.label_scores import score_labels

SHIPPED = Path(__file__).resolve().parent.parent / 'configs/_base_/datasets'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score a folder of label maps against masks')
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
    parser.add_argument('--cams', action='store_true', help='the folder holds CAM files <image id>.npz')
    parser.add_argument(
        '--ignore-unknown', action='store_true', help='leave pixels labelled 255 out; otherwise they are wrong'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='file for the figures')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        config = load_config(args.dataset, SHIPPED, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        dataset = build_dataset(split_config(config, args.split), config.get('splits', {}))
        with Progress(len(dataset)) as progress:
            scores = score_labels(
                dataset, args.folder, cams=args.cams, ignore_unknown=args.ignore_unknown, on_images=progress.advance
            )
        print(f'{scores.table()}\n{scores.summary()}')
        if args.json is not None:
            with atomic_write(args.json) as temporary:
                temporary.write_text(json.dumps(scores.figures(), indent=2) + '\n', encoding='utf-8')
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
