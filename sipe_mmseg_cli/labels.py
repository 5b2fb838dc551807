"""Writes the label maps that a trained model predicts for any split of a data set, and CAM files for later stages.

    %(prog)s work_dirs/my_run --split trainaug --out work_dirs/labels
    %(prog)s CONFIG CHECKPOINT --split trainaug --out work_dirs/labels --cams work_dirs/cams
    torchrun --nproc-per-node 4 -m sipe_mmseg labels CONFIG CHECKPOINT ... --launcher pytorch

At several scales, mirrored, if the config says how (tta_model, tta_pipeline). Files appear complete or not at all; the
same command again writes what is missing and nothing else. On a GPU, `--cfg-options test_dataloader.batch_size=8` takes
images of equal size together; the maps stay the same.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import (
    add_config_changes,
    add_device,
    add_model,
    add_new_label_folder,
    add_split,
    command_parser,
    find_model,
    positive,
    read_config,
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    add_model(parser)
    add_split(parser)
    add_new_label_folder(parser)
    parser.add_argument('--cams', type=Path, metavar='DIR', help='folder for CAM files (SIPE only)')
    parser.add_argument('--stride', type=positive, help='stride of the maps in CAM files (default: that of IRN, 4)')
    parser.add_argument('--no-tta', action='store_true', help='one scale, although the config has several')
    add_device(parser)
    parser.add_argument('--launcher', choices=('none', 'pytorch'), default='none', help='pytorch under torchrun')
    add_config_changes(parser)
    return parser.parse_args(words)


def main(words: Sequence[str], prog: str) -> int:
    """Write what is missing."""
    args = parse_args(words, prog)
    path, checkpoint = find_model(args.config, args.checkpoint)
    config = read_config(path, args.cfg_options)
    from mmengine.dist import is_main_process

    from sipe_mmseg.datasets.cam_files import CAM_STRIDE
    from sipe_mmseg.engine.label_generation import generate_labels
    from sipe_mmseg.engine.processes import joined_processes

    with joined_processes(args.launcher):
        written = generate_labels(
            config,
            checkpoint,
            args.out,
            split=args.split,
            cam_dir=args.cams,
            cam_stride=args.stride or CAM_STRIDE,
            tta=not args.no_tta,
            overwrite=args.overwrite,
            device=args.device,
        )
        if is_main_process():
            print(f'{args.out}: {written.new} of {written.total} images written, the others were there already')
    return 0
