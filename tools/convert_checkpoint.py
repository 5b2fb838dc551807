"""Turn a checkpoint of the published SIPE, or of the published IRN, into one for this package's ResNet-50 configs.

python tools/convert_checkpoint.py published.pth sipe_r50_voc12.pth
python tools/test.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py sipe_r50_voc12.pth --tta

And back, for the published code:

python tools/convert_checkpoint.py --to-published sipe_r50_voc12.pth published.pth
"""

import argparse
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import CheckpointLoader

from sipe_mmseg.datasets import COCO14ImageLevelDataset, VOC12ImageLevelDataset
from sipe_mmseg.datasets.atomic_write import atomic_write
from sipe_mmseg.models.checkpoint_conversion import convert_published_state, publish_state
from sipe_mmseg.models.irn_checkpoint_conversion import (
    convert_published_irn_state,
    is_irn,
    is_published_irn,
    publish_irn_state,
)


def meta_of(num_classes: int) -> dict[str, Any]:
    """What the checkpoint says about its data set: the classes of VOC or COCO if there are as many, else nothing."""
    for dataset in (VOC12ImageLevelDataset, COCO14ImageLevelDataset):
        if len(dataset.METAINFO['classes']) == num_classes:
            return {'dataset_meta': dataset.METAINFO}
    return {}


def converted(checkpoint: Any) -> tuple[dict[str, Any], int]:
    """Checkpoint of ours from a published one, and its number of tensors."""
    if is_published_irn(checkpoint):
        state, meta = convert_published_irn_state(checkpoint), {}
    else:
        state = convert_published_state(checkpoint)
        meta = meta_of(len(state['decode_head.classifier.weight']) + 1)
    return {'meta': meta, 'state_dict': state}, len(state)


def published(checkpoint: Any) -> tuple[dict[str, Any], int]:
    """Checkpoint of the published implementation from one of ours, and its number of names."""
    if is_irn(checkpoint):
        state = publish_irn_state(checkpoint)
        return state, len(state)
    result = publish_state(checkpoint)
    return result, len(result['net'])


def main() -> int:
    """Convert one file; the result appears complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint, or a plain state dict of it')
    parser.add_argument('output', type=Path, help='file to write')
    parser.add_argument('--to-published', action='store_true', help='the checkpoint is one of ours with a ResNet-50')
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f'{args.output} exists already: name another file, or remove it first')
    try:
        checkpoint = CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu')
        result, names = published(checkpoint) if args.to_published else converted(checkpoint)
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        print(f'{args.checkpoint}: {error}', file=sys.stderr)
        return 1
    with atomic_write(args.output) as temporary:
        torch.save(result, temporary)
    print(f'{args.output}: {names} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(main())
