"""Turns a checkpoint of the published SIPE, or of the published IRN, into one for this package's ResNet-50 configs.

    %(prog)s published.pth sipe_r50_voc12.pth
    sipe-mmseg test sipe_r50_1xb16-5e_voc12aug-512x512 sipe_r50_voc12.pth --tta

And back, for the published code:

    %(prog)s --to-published sipe_r50_voc12.pth published.pth

Nothing in the file is run while it is read. No file is overwritten.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from .arguments import command_parser


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('checkpoint', type=Path, help='checkpoint, or a plain state dict of it')
    parser.add_argument('output', type=Path, help='file to write')
    parser.add_argument('--to-published', action='store_true', help='the checkpoint is one of ours with a ResNet-50')
    args = parser.parse_args(words)
    if args.output.exists():
        parser.error(f'{args.output} exists already: name another file, or remove it first')
    return args


def meta_of(num_classes: int) -> dict[str, Any]:
    """What the checkpoint says about its data set: the classes of VOC or COCO if there are as many, else nothing."""
    from sipe_mmseg.datasets import COCO14ImageLevelDataset, VOC12ImageLevelDataset

    for dataset in (VOC12ImageLevelDataset, COCO14ImageLevelDataset):
        if len(dataset.METAINFO['classes']) == num_classes:
            return {'dataset_meta': dataset.METAINFO}
    return {}


def converted(checkpoint: Any) -> tuple[dict[str, Any], int]:
    """Checkpoint of ours from a published one, and its number of tensors."""
    from sipe_mmseg.models.checkpoint_conversion import convert_published_state
    from sipe_mmseg.models.irn_checkpoint_conversion import convert_published_irn_state, is_published_irn

    if is_published_irn(checkpoint):
        state, meta = convert_published_irn_state(checkpoint), {}
    else:
        state = convert_published_state(checkpoint)
        meta = meta_of(len(state['decode_head.classifier.weight']) + 1)
    return {'meta': meta, 'state_dict': state}, len(state)


def published(checkpoint: Any) -> tuple[dict[str, Any], int]:
    """Checkpoint of the published implementation from one of ours, and its number of names."""
    from sipe_mmseg.models.checkpoint_conversion import publish_state
    from sipe_mmseg.models.irn_checkpoint_conversion import is_irn, publish_irn_state

    if is_irn(checkpoint):
        state = publish_irn_state(checkpoint)
        return state, len(state)
    result = publish_state(checkpoint)
    return result, len(result['net'])


def main(words: Sequence[str], prog: str) -> int:
    """Convert one file; the result appears complete or not at all."""
    args = parse_args(words, prog)
    import torch
    from mmengine.runner import CheckpointLoader

    from sipe_mmseg.datasets.atomic_write import atomic_write

    try:
        checkpoint = CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu')
        result, names = published(checkpoint) if args.to_published else converted(checkpoint)
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ValueError(f'{args.checkpoint}: {error}') from error
    with atomic_write(args.output) as temporary:
        torch.save(result, temporary)
    print(f'{args.output}: {names} tensors')
    return 0
