"""Writes the label maps that a trained model predicts for any split of a data set, and CAM files for later stages.

    python tools/generate_labels.py CONFIG CHECKPOINT --split trainaug --out work_dirs/labels
    python tools/generate_labels.py CONFIG CHECKPOINT --split trainaug --out work_dirs/labels --cams work_dirs/cams
    torchrun --nproc-per-node 4 tools/generate_labels.py CONFIG CHECKPOINT ... --launcher pytorch

At several scales, mirrored, if the config says how (tta_model, tta_pipeline). Files appear complete or not at all; the
same command again writes what is missing and nothing else. On a GPU, `--cfg-options test_dataloader.batch_size=8` takes
images of equal size together; the maps stay the same.
"""

import argparse
import sys
from pathlib import Path
from pickle import UnpicklingError

from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope

import sipe_mmseg  # noqa: F401  # registers everything
from sipe_mmseg.datasets.cam_files import CAM_STRIDE
from sipe_mmseg.engine.label_generation import generate_labels
from sipe_mmseg.engine.processes import joined_processes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write label maps of a split, and CAM files for later stages')
    parser.add_argument('config', help='config of the model: SIPE, IRN or any segmentation network')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument(
        '--split', help="split of the config's test data set: a name in its `splits`, or a list (default: as it is)"
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the label maps')
    parser.add_argument('--cams', type=Path, metavar='DIR', help='folder for CAM files (SIPE only)')
    parser.add_argument(
        '--stride', type=int, default=CAM_STRIDE, help='stride of the maps in CAM files (default: %(default)s)'
    )
    parser.add_argument('--no-tta', action='store_true', help='one scale, although the config has several')
    parser.add_argument('--overwrite', action='store_true', help='remove files made with other settings first')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: the GPU, if there is one)')
    parser.add_argument('--launcher', choices=('none', 'pytorch'), default='none', help='pytorch under torchrun')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args()
    if args.stride < 1:
        parser.error('--stride must be at least 1')
    return args


def main() -> int:
    args = parse_args()
    try:
        config = Config.fromfile(args.config)
        config.merge_from_dict(args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        with joined_processes(args.launcher):
            written = generate_labels(
                config,
                args.checkpoint,
                args.out,
                split=args.split,
                cam_dir=args.cams,
                cam_stride=args.stride,
                tta=not args.no_tta,
                overwrite=args.overwrite,
                device=args.device,
            )
            if is_main_process():
                print(f'{args.out}: {written.new} of {written.total} images written, the others were there already')
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
