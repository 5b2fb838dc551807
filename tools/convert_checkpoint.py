"""Turn a checkpoint of the published SIPE into one for this package's ResNet-50 configs.

python tools/convert_checkpoint.py published.pth sipe_r50_voc12.pth
python tools/test.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py sipe_r50_voc12.pth --tta
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

import sipe_mmseg  # noqa: F401  # loading goes through its allow-list of globals
from sipe_mmseg.models.checkpoint_conversion import convert_published_state


def main() -> int:
    """Convert one file; the result appears complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='published checkpoint or a plain state dict of it')
    parser.add_argument('output', type=Path, help='file to write')
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f'{args.output} exists already: name another file, or remove it first')
    checkpoint = CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu')
    try:
        state = convert_published_state(checkpoint)
    except ValueError as error:
        print(f'{args.checkpoint}: {error}', file=sys.stderr)
        return 1
    args.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.output.with_name(f'.{args.output.name}.{os.getpid()}.tmp')
    try:
        torch.save({'meta': {}, 'state_dict': state}, temporary)
        os.replace(temporary, args.output)
    finally:
        temporary.unlink(missing_ok=True)
    print(f'{args.output}: {len(state)} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(main())
