"""MMSegmentation's own scripts, found in the installed package and run as they are."""

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import mmseg
import torch

from .processes import end_with_parent, join_processes_without_gpu


def find_mmseg_tool(name: str) -> Path:
    """Path of a script of MMSegmentation's ``tools`` folder, in a wheel or in a source checkout.

    Args:
        name: File name, ``'train.py'`` or ``'test.py'``.

    Raises:
        FileNotFoundError: This installation of MMSegmentation comes without its tools.
    """
    package = Path(mmseg.__file__).parent
    places = [package / '.mim' / 'tools', package.parent / 'tools']
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(
        f'MMSegmentation {mmseg.__version__} comes without tools/{name}: looked in {places[0]} and {places[1]}. '
        'Reinstall it with pip (pip install --force-reinstall --no-deps mmsegmentation), or run the script of '
        "MMSegmentation's repository on the same config: it does the same"
    )


def run_mmseg_tool(name: str, words: Sequence[str]) -> None:
    """Run a script of MMSegmentation in this process, as ``python tools/<name> <words>`` does.

    Several processes without a GPU (``torchrun``) get what MMEngine 0.10.7 lacks for them, see
    :func:`~sipe_mmseg.engine.processes.join_processes_without_gpu`; and they end with the launcher, however that ends.

    Args:
        name: File name, or path below ``tools``.
        words: The command line after it.

    Raises:
        FileNotFoundError: This installation of MMSegmentation comes without its tools.
    """
    script = find_mmseg_tool(name)
    sys.argv = [str(script), *words]
    if {'pytorch', '--launcher=pytorch'} & set(words) and 'WORLD_SIZE' in os.environ:
        end_with_parent()
        if not torch.cuda.is_available():
            sys.argv += join_processes_without_gpu()
    try:
        runpy.run_path(str(script), run_name='__main__')
    except SystemExit as stop:
        if stop.code == 2 and (unknown := _settings_among(words, script.read_text(encoding='utf-8'))):
            print(
                f'{", ".join(unknown)}: settings of the config go behind --cfg-options; for another length: '
                '--cfg-options train_cfg.max_epochs=3',
                file=sys.stderr,
            )
        raise


def _settings_among(words: Sequence[str], script: str) -> list[str]:
    """Options that a script does not name, if it takes settings of a config."""
    options = [word.partition('=')[0] for word in words if word.startswith('--')]
    return [option for option in options if f"'{option}'" not in script] if "'--cfg-options'" in script else []
