"""The whole of SIPE in a few minutes: makes the built-in data set, trains, scores and draws pictures on it.

    %(prog)s

Runs the tools that a user would run, one after the other, and prints each command: mmseg's own train.py and test.py as
installed with it, and our make_shapes.py and draw_overlays.py. `make demo` installs everything and then does this.
"""

import argparse
import glob
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .arguments import command_parser, positive

CONFIG = 'sipe_r18_1xb16-6e_shapes-160x160'
FIGURES = (  # as CAMMetric names them
    ('mIoU', 'IS-CAM, mIoU'),
    ('cam_mIoU_best(picked_on_ground_truth)', 'general CAM at its best threshold (picked on the masks), mIoU'),
    ('mAP', 'classification, mAP'),
)


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('--data-root', type=Path, help='folder of the data set (default: SHAPES_ROOT or data/shapes)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='folder of all results')
    parser.add_argument('--num-pictures', type=positive, default=16, help='how many pictures to draw')
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')
    return parser.parse_args(words)


def run(*command: str | Path, data_root: Path) -> float:
    """Print a command, run it by this Python, and return the seconds it took.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    from sipe_mmseg.engine.processes import end_with_parent

    words = [sys.executable, *map(str, command)]
    print(f'\n$ SHAPES_ROOT={shlex.quote(str(data_root))} {shlex.join(words)}', flush=True)
    start = time.perf_counter()
    env = {**os.environ, 'SHAPES_ROOT': str(data_root)}
    subprocess.run(words, check=True, env=env, preexec_fn=end_with_parent)  # noqa: S603  # our own tools
    return time.perf_counter() - start


def main(words: Sequence[str], prog: str) -> int:
    """Run everything and print the figures."""
    args = parse_args(words, prog)
    from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint
    from sipe_mmseg.engine.config_lookup import find_config, shipped_tools
    from sipe_mmseg.engine.mmseg_tools import find_mmseg_tool
    from sipe_mmseg.engine.new_files import file_states, newly_written

    config, tools = find_config(CONFIG), shipped_tools()
    data_root = args.data_root or Path(os.environ.get('SHAPES_ROOT', 'data/shapes'))
    checkpoints, scores, pictures = (args.work_dir / name for name in ('train', 'test', 'pictures'))
    seconds: dict[str, float] = {}
    scored = f'{glob.escape(str(scores))}/*/*.json'  # MMEngine writes <time>/<time>.json
    before = file_states(scored)
    try:
        seconds['making the data set'] = run(tools / 'make_shapes.py', data_root, data_root=data_root)
        seconds['training'] = run(
            find_mmseg_tool('train.py'),
            config,
            '--work-dir',
            checkpoints,
            '--cfg-options',
            f'randomness.seed={args.seed}',
            data_root=data_root,
        )
        checkpoint = find_checkpoint(checkpoints)
        seconds['scoring at four scales, mirrored'] = run(
            find_mmseg_tool('test.py'), config, checkpoint, '--tta', '--work-dir', scores, data_root=data_root
        )
        seconds['drawing pictures'] = run(
            tools / 'draw_overlays.py',
            config,
            checkpoint,
            '--out',
            pictures,
            '--num',
            str(args.num_pictures),
            data_root=data_root,
        )
    except subprocess.CalledProcessError as error:
        print(f'\nThis command failed with exit code {error.returncode}, see above.', file=sys.stderr)
        return 1

    path = newly_written(scored, before)
    if path is None:
        raise RuntimeError(f'{scores}: the scoring ended well, but wrote no figures')
    figures = json.loads(path.read_text())
    rows = [(title, f'{figures[name]:.1f} %') for name, title in FIGURES]
    rows += [(f'time of {title}', f'{value:.0f} s') for title, value in seconds.items()]
    rows.append(('time of all', f'{sum(seconds.values()):.0f} s'))
    width = max(len(title) for title, _ in rows)
    print('\n' + '\n'.join(f'{title:<{width}}  {value:>8}' for title, value in rows))
    print(f'\nImage, CAM, IS-CAM, seeds, prototypes, label map and ground truth side by side: {pictures}')
    return 0
