"""Turn a checkpoint of the published SIPE into one for this package's ResNet-50 configs.

python tools/convert_checkpoint.py published.pth sipe_r50_voc12.pth
python tools/test.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py sipe_r50_voc12.pth --tta
"""

import argparse
import sys
from pathlib import Path
from pickle import UnpicklingError

import torch
from mmengine.runner import CheckpointLoader

from sipe_mmseg.datasets import COCO14ImageLevelDataset, VOC12ImageLevelDataset
from sipe_mmseg.datasets.atomic_write import atomic_write
from sipe_mmseg.models.checkpoint_conversion import convert_published_state


def main() -> int:
    """Convert one file; the result appears complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='published checkpoint or a plain state dict of it')
    parser.add_argument('output', type=Path, help='file to write')
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f'{args.output} exists already: name another file, or remove it first')
    try:
        state = convert_published_state(CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu'))
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        print(f'{args.checkpoint}: {error}', file=sys.stderr)
        return 1
    known = {len(each.METAINFO['classes']): each.METAINFO for each in (VOC12ImageLevelDataset, COCO14ImageLevelDataset)}
    num_classes = len(state['decode_head.classifier.weight']) + 1
    meta = {'dataset_meta': known[num_classes]} if num_classes in known else {}
    with atomic_write(args.output) as temporary:
        torch.save({'meta': meta, 'state_dict': state}, temporary)
    print(f'{args.output}: {len(state)} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(main())
