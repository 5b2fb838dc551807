"""Lists the shipped configs, or copies one for you to change.

    %(prog)s                                    all names
    %(prog)s custom                             those that have the word in them
    %(prog)s sipe_r50_1xb16-5e_custom-512x512 --out my_configs
    %(prog)s sipe_r50_1xb16-5e_voc12aug-512x512 --out my_config.py

A folder gets the config with its comments, and beside it those that it inherits from: the way for the `custom` ones,
which are templates. A file gets all settings, as they are now: what follows from another setting is written out, and no
longer follows from it; environment variables are filled in.
"""

import argparse
import ast
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import command_parser

if TYPE_CHECKING:
    from mmengine.config import Config

_HEADER = """\
# {name} with all that it inherits, as it was when this copy was made.
# What followed from another setting is written out: whoever changes a class changes it wherever it is, in `classes`,
# in the metainfo of each data set and, as a number, in num_classes. Environment variables are read no more; they have
# the values of that moment. In a shipped config that is copied into a folder (sipe-mmseg configs NAME --out DIR) all of
# this still follows.
"""


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument(
        'name', nargs='?', default='', help='name of the config to copy; or a part of the names to list'
    )
    parser.add_argument('--out', type=Path, metavar='FILE.py|DIR', help='where to copy the config of this name')
    args = parser.parse_args(words)
    if args.out is not None and not args.name:
        parser.error('--out needs the name of the config to copy')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """List the names, or copy the config."""
    args = parse_args(words, prog)
    from sipe_mmseg.engine.config_lookup import find_config, shipped_names

    if args.out is not None:
        source = find_config(args.name, pipelines=None)
        print(copy_flat(source, args.out) if args.out.suffix == '.py' else copy_with_bases(source, args.out))
        return 0
    found = {name: path for name, path in shipped_names().items() if args.name in name}
    if not found:
        raise ValueError(f'{args.name}: no shipped config has this in its name')
    folder = ''
    for name, path in found.items():
        if path.parent.name != folder:
            folder = path.parent.name
            print(f'{folder}:')
        print(f'  {name}')
    return 0


def copy_flat(source: Path, target: Path) -> Path:
    """Write all settings of a config into one file, and return it.

    Raises:
        FileExistsError: If the file is there already.
    """
    if target.exists():
        raise FileExistsError(f'{target}: exists already; name another file, or remove it first')
    from sipe_mmseg.datasets.atomic_write import atomic_write

    from .arguments import read_config

    config = read_config(source)
    with atomic_write(target) as temporary:
        temporary.write_text(_HEADER.format(name=source.stem) + _text(config), encoding='utf-8')
    return target


def copy_with_bases(source: Path, folder: Path) -> Path:
    """Copy a shipped config and those it inherits from below a folder, as they lie below ``configs``.

    Returns:
        The copy of the config itself.

    Raises:
        FileExistsError: If one of the files is there already.
        ValueError: If the config is none of the shipped ones, whose bases may lie anywhere.
    """
    from sipe_mmseg.datasets.atomic_write import atomic_write
    from sipe_mmseg.engine.config_lookup import shipped_configs

    root = shipped_configs().resolve()
    files = [path.resolve() for path in _with_bases(source)]
    outside = [path for path in files if root not in path.parents]
    if outside:
        raise ValueError(f'{outside[0]}: is no shipped config; --out FILE.py writes all its settings into one file')
    copies = {path: folder / path.relative_to(root) for path in files}
    there = [copy for path, copy in copies.items() if copy.exists() and copy.read_bytes() != path.read_bytes()]
    if there:
        raise FileExistsError(
            f'{there[0]}: exists already, and is another file; name another folder, or remove it first'
        )
    for path, copy in copies.items():
        with atomic_write(copy) as temporary:
            shutil.copyfile(path, temporary)
    return copies[files[0]]


def _text(config: 'Config') -> str:
    return config.pretty_text if config.pretty_text.endswith('\n') else f'{config.pretty_text}\n'


def _with_bases(path: Path) -> list[Path]:
    """A config and all that it inherits from, each once."""
    found = [path]
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                found += [each for each in _with_bases((path.parent / base).resolve()) if each not in found]
    return found
