"""Predicts your own pictures: which classes are in them, CAMs and label maps.

    %(prog)s work_dirs/my_run photos                              prints classes and scores
    %(prog)s work_dirs/my_run photos --out-dir maps               and writes maps/vis and maps/pred
    %(prog)s work_dirs/my_run fido.jpg --classes dog --out-dir maps
    %(prog)s work_dirs/my_run photos --labels photos.json --out-dir maps
    %(prog)s sipe_r50_1xb16-5e_voc12aug-512x512 photos --weights sipe_r50_voc12.pth

Label maps are PNGs of class indices in the colours of the data set, pictures show CAM, IS-CAM, seeds and label map side
by side. Pictures without labels (--labels, --classes) are left to the classifier. Of a folder, the files are taken that
have a picture's suffix; folders below it are not. A picture that cannot be read stops none of the others: it is named
at the end, and the exit code is 1.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .arguments import add_config_changes, add_device, command_parser, find_model, positive, read_config


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('model', help='work directory, config file or name of a shipped config')
    parser.add_argument('inputs', nargs='+', metavar='input', help='pictures, folders of them, or URLs')
    parser.add_argument(
        '--weights', metavar='FILE', help='checkpoint, or work directory for its last one (default: that of the model)'
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument('--labels', metavar='FILE', help='JSON or CSV file that says which classes are in which picture')
    given.add_argument('--classes', nargs='+', metavar='NAME', help='the classes that are in every one of the pictures')
    parser.add_argument(
        '--score-threshold',
        type=float,
        metavar='P',
        help='score above which the classifier is taken at its word (default: that of the config, 0.5 in the shipped)',
    )
    parser.add_argument('--out-dir', default='', metavar='DIR', help='folder for pictures and label maps')
    parser.add_argument('--img-out-dir', default='vis', metavar='NAME', help='folder in it for pictures (%(default)s)')
    parser.add_argument(
        '--pred-out-dir', default='pred', metavar='NAME', help='folder in it for label maps (%(default)s)'
    )
    parser.add_argument('--no-tta', action='store_true', help='one scale, although the config has several')
    parser.add_argument('--batch-size', type=positive, default=1, help='pictures of one size at a time (%(default)s)')
    add_device(parser)
    parser.add_argument('--max-pixels', type=positive, help='refuse pictures of more pixels (default: 50 million)')
    parser.add_argument(
        '--working-pixels', type=positive, help='let the network see a smaller copy above this (default: 4.2 million)'
    )
    parser.add_argument('--min-side', type=positive, help='refuse pictures with a shorter side (default: 16)')
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--wait-time', type=float, default=0, help='seconds that it stays; 0 waits for a key')
    add_config_changes(parser)
    args = parser.parse_args(words)
    if args.score_threshold is not None and not 0 <= args.score_threshold <= 1:
        parser.error(f'--score-threshold is a probability, from 0 to 1, not {args.score_threshold}')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """Predict the pictures one after the other."""
    args = parse_args(words, prog)
    folders = [Path(args.out_dir, name) for name in (args.img_out_dir, args.pred_out_dir)] if args.out_dir else []
    from sipe_mmseg.datasets.atomic_write import check_writable_folder

    for folder in folders:
        check_writable_folder(folder)
    path, checkpoint = find_model(args.model, args.weights)
    config = read_config(path, args.cfg_options)
    if args.score_threshold is not None:
        config.merge_from_dict({'model.test_cfg.score_threshold': args.score_threshold})
    from sipe_mmseg.apis import SIPEInferencer
    from sipe_mmseg.apis.image_source import given_images, left_out_line, unmatched_line
    from sipe_mmseg.datasets.image_labels import read_label_file
    from sipe_mmseg.datasets.output_folder import output_folder

    given = [given_images(each) for each in args.inputs]
    pictures = [picture for each in given for picture in each.images]
    left_out = [path for each in given for path in each.left_out]
    limits = {name: getattr(args, name) for name in ('max_pixels', 'working_pixels', 'min_side')}
    inferencer = SIPEInferencer(
        config,
        checkpoint,
        args.device,
        show_progress=False,
        **{name: limit for name, limit in limits.items() if limit is not None},
    )
    labels: Any = None
    if args.labels:
        # The reader's foreground indices begin with 0, class indices with the background.
        found = read_label_file(args.labels, inferencer.classes)
        labels = {key: [index + 1 for index in indices] for key, indices in found.items()}
    elif args.classes:
        labels = [args.classes] * len(pictures)
    failed: dict[str, str] = {}
    predictions = inferencer.stream(
        pictures,
        failed,
        labels=labels,
        batch_size=args.batch_size,
        out_dir=args.out_dir,
        img_out_dir=args.img_out_dir,
        pred_out_dir=args.pred_out_dir,
        show=args.show,
        wait_time=args.wait_time,
        tta=False if args.no_tta else None,
    )
    done = asked = found_in = 0
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(output_folder(folder))
        for done, prediction in enumerate(predictions, start=1):
            asked += not prediction.labels_given
            found_in += not prediction.labels_given and len(prediction.present) > 0
            print(f'{done + len(failed)}/{len(pictures)} {prediction}', flush=True)
    print(f'{done} of {len(pictures)} pictures predicted' + (f', written to {args.out_dir}' if args.out_dir else ''))
    if left_out:
        print(left_out_line(left_out))
    unmatched = unmatched_line(labels, pictures, args.labels)
    if unmatched:
        print(unmatched)
    if asked and not found_in:
        print(
            "no picture has an object by the classifier's own scores: lower --score-threshold, name what is there "
            '(--classes or --labels), or train longer'
        )
    if failed:
        print(f'{len(failed)} could not be predicted:', *failed.values(), sep='\n  ')
    return 1 if failed else 0
