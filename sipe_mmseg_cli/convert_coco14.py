"""Renders the instances of COCO 2014 as masks of 81 classes, for scoring.

    %(prog)s data/coco2014/annotations/instances_train2014.json data/coco2014/masks/train2014

One palette PNG for every image of the file, ``<image stem>.png``: 0 is background, 1 to 80 are the categories in the
order of their ids. A conversion that was interrupted goes on where it stopped.
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import command_parser, positive

if TYPE_CHECKING:
    from sipe_mmseg.datasets.coco_masks import AnnotatedImage, Crowds, Overlap

SETTINGS_FILE = 'conversion.json'


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    from sipe_mmseg.processors import num_processors

    parser = command_parser(prog, __doc__)
    parser.add_argument('instances', type=Path, help='instances_train2014.json or instances_val2014.json')
    parser.add_argument('out_dir', type=Path, help='folder for the masks')
    parser.add_argument(
        '--overlap',
        choices=('later', 'smaller'),
        default='later',
        help='which of two objects is on top: the later one in the file (default) or the smaller one',
    )
    parser.add_argument(
        '--crowds',
        choices=('background', 'ignore'),
        default='background',
        help='crowds are background (default) or 255, which scoring ignores',
    )
    parser.add_argument(
        '--workers',
        type=positive,
        default=num_processors(),
        help='processes (default: %(default)s, all processors that it may use)',
    )
    return parser.parse_args(words)


def keep_settings(out_dir: Path, instances: Path, overlap: 'Overlap', crowds: 'Crowds') -> None:
    """Notes how the masks of a folder are made, and refuses to mix masks that are made in different ways."""
    from sipe_mmseg.datasets.atomic_write import write_json
    from sipe_mmseg.datasets.json_files import load_json
    from sipe_mmseg.datasets.messages import shown

    settings = {'instances': instances.name, 'overlap': overlap, 'crowds': crowds}
    path = out_dir / SETTINGS_FILE
    if not path.exists():
        write_json(path, settings)
        return
    earlier = load_json(str(path))
    if earlier != settings:
        raise ValueError(
            f'{path}: the masks in this folder are made with {shown(earlier)}, not {settings}; use another folder'
        )


def convert(image: 'AnnotatedImage', out_dir: Path, overlap: 'Overlap', crowds: 'Crowds') -> bool:
    """Writes the mask of an image; returns False if it is already there, complete."""
    from sipe_mmseg.datasets.coco_masks import render_label_map
    from sipe_mmseg.datasets.image_files import sample_problem
    from sipe_mmseg.datasets.label_files import write_label_png
    from sipe_mmseg.datasets.palette import voc_palette
    from sipe_mmseg.datasets.result_folder import ResultFolder

    path = ResultFolder(out_dir, '.png').path(os.path.splitext(image.file_name)[0])
    if path.exists() and sample_problem(str(path), min_side=1) is None:
        return False
    write_label_png(path, render_label_map(image, overlap=overlap, crowds=crowds), voc_palette(256))
    return True


def main(words: Sequence[str], prog: str) -> int:
    """Write the masks that are missing."""
    args = parse_args(words, prog)
    from sipe_mmseg.datasets.coco_masks import load_annotated_images
    from sipe_mmseg.datasets.output_folder import output_folder
    from sipe_mmseg.engine.parallel_work import each_done
    from sipe_mmseg.engine.progress import Progress

    classes, images = load_annotated_images(str(args.instances))
    work = partial(convert, out_dir=args.out_dir, overlap=args.overlap, crowds=args.crowds)
    written = 0
    with output_folder(args.out_dir):
        keep_settings(args.out_dir, args.instances, args.overlap, args.crowds)
        print(f'{len(images)} images, {len(classes)} classes', flush=True)
        with (
            Progress(len(images)) as progress,
            closing(each_done(work, images, args.workers, '--workers')) as done,
        ):
            for is_new in done:
                written += is_new
                progress.advance()
    print(f'{written} masks written to {args.out_dir}, {len(images) - written} were there already')
    return 0
