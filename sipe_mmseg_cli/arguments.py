"""Arguments that several commands have, and what they stand for."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these takes seconds
    from mmengine.config import Config
    from mmseg.datasets import BaseSegDataset


def command_parser(prog: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring, in which ``%(prog)s`` is how the command was started."""
    return argparse.ArgumentParser(prog=prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_model(parser: argparse.ArgumentParser) -> None:
    """CONFIG and CHECKPOINT."""
    parser.add_argument('config', help='config of the model: a file, a work directory or the name of a shipped one')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint of the model (default: the last one of a work directory)'
    )


def add_dataset(parser: argparse.ArgumentParser, name: str = '--dataset', required: bool = True) -> None:
    """The data set by its config; ``name`` without dashes makes it a word of its own place."""
    options: dict[str, Any] = {'required': required, 'metavar': 'CONFIG'} if name.startswith('-') else {}
    parser.add_argument(
        name,
        **options,
        help='config with the data set: a file, a work directory, or the name of a shipped one: voc12, coco14, ...',
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """--split."""
    parser.add_argument(
        '--split', help="split of the config's test data set: a name in its `splits`, or a list (default: as it is)"
    )


def add_label_folder(parser: argparse.ArgumentParser, **options: Any) -> None:
    """The folder of label maps, or of CAM files with --cams."""
    parser.add_argument('folder', type=Path, **options, help='folder of label maps <image id>.png')


def add_ignore_unknown(parser: argparse.ArgumentParser) -> None:
    """--ignore-unknown."""
    parser.add_argument(
        '--ignore-unknown', action='store_true', help='leave pixels labelled 255 out; otherwise they are wrong'
    )


def add_new_label_folder(parser: argparse.ArgumentParser) -> None:
    """--out and --overwrite of the commands that write what is missing in a folder of label maps."""
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the label maps')
    parser.add_argument(
        '--overwrite', action='store_true', help='first remove results of these images made with other settings'
    )


def add_figures_file(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument('--json', type=Path, metavar='FILE', help='file for the figures')


def add_exchange(parser: argparse.ArgumentParser, verb: str) -> None:
    """--dataset, --split, --format and --out of the commands that go between label maps and annotation tools."""
    from sipe_mmseg.engine.label_exchange import FORMATS

    add_dataset(parser)
    add_split(parser)
    parser.add_argument('--format', required=True, choices=FORMATS, help=f'what to {verb}')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write; it must be a new one')


def add_drawn_images(parser: argparse.ArgumentParser) -> 'argparse._MutuallyExclusiveGroup':
    """--out and the images to draw, --num or --ids; further ways to choose them go into the group that is returned."""
    parser.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='folder for the pictures, one PNG for each image'
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--num', type=positive, default=8, help='number of images, from the first one on (default: 8)')
    which.add_argument('--ids', nargs='+', metavar='ID', help='ids of the images')
    return which


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device."""
    parser.add_argument('--device', type=_device, help='such as cpu or cuda:1 (default: the GPU, if there is one)')


def add_config_changes(parser: argparse.ArgumentParser) -> None:
    """--cfg-options, as all tools of OpenMMLab have it."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=_change,
        default=[],
        metavar='KEY=VALUE',
        help='changes to the config',
    )


def positive(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r'\d+', text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, not {text!r}')
    return int(text)


def script_words(words: Sequence[str], doc: str | None, prog: str) -> list[str]:
    """The words for a script of MMSegmentation, which has a help of its own: a command's is shown before it."""
    if words and not {'-h', '--help'} & set(words):
        return list(words)
    print((doc or '') % dict(prog=prog), flush=True)
    return ['--help']


def load_config(path: str | Path) -> 'Config':
    """Load a config file.

    Raises:
        ValueError: If it is not Python; the message names the line.
    """
    from mmengine.config import Config

    try:
        return Config.fromfile(str(path))
    except SyntaxError as error:
        raise ValueError(f'{path}, line {error.lineno}: not Python ({error.msg})') from error


def check_script(words: Sequence[str], prog: str) -> None:
    """Look at the config and the changes to it that a script of MMSegmentation is given, before it starts.

    Args:
        words: The command line, config first.
        prog: What the command was started as, for messages.

    Raises:
        ValueError: If the config has no model, or is not Python; or if the work directory cannot be a folder.
    """
    changes_among(words, prog)
    parser = argparse.ArgumentParser(prog, add_help=False, usage=argparse.SUPPRESS)
    parser.add_argument('--work-dir', type=Path)
    _check_folder(parser.parse_known_args(list(words))[0].work_dir or Path())
    config = load_config(words[0])
    if not config.get('model'):
        hint = '; it is a pipeline, which `sipe-mmseg pipeline` runs' if config.get('stages') else ''
        raise ValueError(f'{words[0]}: has no model{hint}')


def _check_folder(folder: Path) -> None:
    place = folder.absolute()
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir():
        raise ValueError(f'{folder if there == place else there} is a file; name a folder')


def changes_among(words: Sequence[str], prog: str = '') -> dict[str, Any]:
    """The changes of ``--cfg-options`` among the words of a script of MMSegmentation."""
    parser = argparse.ArgumentParser(prog, add_help=False, usage=argparse.SUPPRESS)
    add_config_changes(parser)
    return parse_changes(parser.parse_known_args(list(words))[0].cfg_options)


def read_config(path: str | Path, changes: Sequence[str] = ()) -> 'Config':
    """Load a config, make the changes of the command line, and say in which registries its names are."""
    from mmengine.registry import init_default_scope

    import sipe_mmseg  # noqa: F401  # registers everything

    config = load_config(path)
    config.merge_from_dict(parse_changes(changes))
    init_default_scope(config.get('default_scope') or 'mmseg')
    return config


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """The values of ``--cfg-options``, read as MMEngine reads them."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser('sipe-mmseg')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    options: dict[str, Any] = parser.parse_args(['--cfg-options', *words] if words else []).cfg_options
    return options


def find_model(config: str, checkpoint: str | None) -> tuple[Path, str]:
    """Config file and checkpoint: the last one where it is a work directory, or none is named and ``config`` is one.

    Raises:
        FileNotFoundError: If there is no such config, or no checkpoint in the work directory.
        ValueError: If no checkpoint is named, and ``config`` is no work directory.
    """
    from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint
    from sipe_mmseg.engine.config_lookup import find_config

    path = find_config(config)
    if checkpoint is None:
        if not Path(config).expanduser().is_dir():
            raise ValueError(f'{config}: name a checkpoint as well; only a work directory has one of its own')
        checkpoint = config
    return path, str(find_checkpoint(checkpoint)) if Path(checkpoint).expanduser().is_dir() else checkpoint


def load_dataset(name: str, split: str | None, changes: Sequence[str], masks: bool = True) -> 'BaseSegDataset':
    """Build the data set that ``--dataset``, ``--split`` and ``--cfg-options`` stand for.

    Args:
        name: Config of it, or name of a shipped data set.
        split: As in :func:`~sipe_mmseg.engine.splits.split_config`.
        changes: Changes to the config.
        masks: Whether it may have masks.
    """
    from sipe_mmseg.engine.config_lookup import find_dataset_config
    from sipe_mmseg.engine.splits import build_dataset, split_config, without_masks

    config = read_config(find_dataset_config(name), changes)
    dataset = split_config(config, split)
    return build_dataset(dataset if masks else without_masks(dataset), config.get('splits', {}))


def _device(text: str) -> str:
    import torch

    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f'must be cpu, cuda or cuda:NUMBER, not {text!r}') from error
    number = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= number:
        there = f'{number} GPU{"s"[: number > 1]}, cuda:0 first' if number else 'no GPU'
        raise argparse.ArgumentTypeError(f'torch finds {there}, and so not {text}; `sipe-mmseg check` says more')
    return text


def _change(text: str) -> str:
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'must be KEY=VALUE, such as model.test_cfg.mirror=True, not {text!r}')
    return text
