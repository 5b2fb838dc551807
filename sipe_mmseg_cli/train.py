"""Trains a config: MMSegmentation's own tools/train.py, found in the installed package, with the same options.

    %(prog)s sipe_r50_1xb16-5e_voc12aug-512x512
    %(prog)s CONFIG --work-dir work_dirs/mine --resume
    %(prog)s CONFIG --cfg-options train_cfg.max_epochs=20 randomness.seed=1

CONFIG comes first: a file, a work directory (its config, again) or the name of a shipped config. Results are in
work_dirs/<name of the config>, unless --work-dir names another folder. Several GPUs:

    torchrun --nproc-per-node 4 -m sipe_mmseg train CONFIG --launcher pytorch
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError

from .arguments import check_script, parse_changes, script_words
from .main import CommandError

# Number of this process among several, by launcher: torchrun, slurm, mpi. The first one holds the lock.
_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def main(words: Sequence[str], prog: str) -> int:
    """Run MMSegmentation's script, which reads the options itself."""
    words = script_words(words, __doc__, prog)
    import sipe_mmseg  # noqa: F401  # registers everything
    from sipe_mmseg.datasets.folder_lock import folder_lock
    from sipe_mmseg.engine.config_lookup import find_config
    from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool

    if not words[0].startswith('-'):
        try:
            words[0] = str(find_config(words[0]))
            check_script(words, prog)
        except (OSError, ValueError) as error:
            raise CommandError(error) from error
    with ExitStack() as lock:
        if not words[0].startswith('-') and not any(int(os.environ.get(name) or 0) for name in _RANKS):
            lock.enter_context(folder_lock(work_dir(words)))  # from before anything is written to the end
        try:
            run_mmseg_tool('train.py', words)
        except URLError as error:
            raise CommandError(_without_download(words[0], error)) from error
    return 0


def _without_download(config: str, error: URLError) -> str:
    """What to do where the first weights of an encoder cannot be downloaded."""
    from mmengine.config import Config

    from sipe_mmseg.engine.pretrained_weights import find_pretrained_weights

    missing = [
        weights
        for weights in find_pretrained_weights(Config.fromfile(config))
        if weights.is_download and not weights.file.is_file()
    ]
    lines = [f'{config}: the weights that it begins with could not be downloaded: {error.reason}']
    for weights in missing:
        lines.append(f'  {weights.location}: put the file at {weights.file}')
        if weights.variable:
            lines[-1] += f', or name it: {weights.variable}=FILE'
    return '\n'.join(lines)


def work_dir(words: Sequence[str]) -> Path:
    """The work directory that MMSegmentation's script will take: the option, or the config's, or the config's name."""
    from mmengine.config import Config

    parser = argparse.ArgumentParser('train', add_help=False)
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    parser.add_argument('--cfg-options', nargs='+', default=[])
    args, _ = parser.parse_known_args(words)
    if args.work_dir is not None:
        return Path(args.work_dir)
    config = Config.fromfile(args.config, import_custom_modules=False)
    config.merge_from_dict(parse_changes(args.cfg_options))
    return Path(config.get('work_dir') or Path('work_dirs', Path(args.config).stem))
