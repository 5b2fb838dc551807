"""Which command a command line means, and what becomes of its mistakes."""

import difflib
import importlib
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from .faults import explain
from .launch import RESUME
from .stops import stoppable

PROG = 'sipe-mmseg'
# What a person can mend, and is told in a sentence; anything else is ours, and is shown with all that led to it.
_MISTAKES = (ImportError, OSError, RuntimeError, UnpicklingError, ValueError)


@dataclass(frozen=True)
class Command:
    """One command: the module that has it, and what it does in a few words.

    ``whole_errors`` is for those that run a script of MMSegmentation: its errors are shown as it raises them, except
    for ours and for faults that :func:`~sipe_mmseg_cli.faults.explain` knows. ``goes_on`` is for those that leave alone
    what they find done.
    """

    module: str
    summary: str
    whole_errors: bool = False
    goes_on: bool = False


COMMANDS = {
    'check': Command('check', 'look over the installation, a config with its data, or a folder of pictures'),
    'configs': Command('configs', 'list the shipped configs, or copy one'),
    'shapes': Command('shapes', 'write the built-in data set'),
    'demo': Command('demo', 'make the built-in set, train, score and draw on it, in a few minutes'),
    'train': Command('train', 'train a config', whole_errors=True),
    'test': Command('test', 'score a checkpoint', whole_errors=True),
    'predict': Command('predict', 'classes, CAMs and label maps of your own pictures'),
    'labels': Command('labels', 'write label maps of a whole split, and CAM files', goes_on=True),
    'evaluate': Command('evaluate', 'score a folder of label maps'),
    'report': Command('report', 'write an HTML page about a folder of label maps, or about a training'),
    'refine': Command('refine', 'label maps through the dense CRF; CAM files to IR labels', goes_on=True),
    'export': Command('export_labels', 'label maps to COCO, labelme or CVAT, for people to correct them'),
    'import': Command('import_labels', 'label maps of what people drew in COCO, labelme or CVAT'),
    'pipeline': Command('pipeline', 'from image-level labels to a trained segmentation network', goes_on=True),
    'overlays': Command('overlays', 'draw what a model finds, side by side'),
    'compare': Command('compare_cams', 'the maps of other CAM methods beside ours, drawn and scored'),
    'curves': Command('curves', 'draw losses and scores of a training'),
    'convert checkpoint': Command('convert_checkpoint', 'a published checkpoint to one of ours, and back'),
    'convert coco14': Command('convert_coco14', 'the instances of COCO 2014 to masks', goes_on=True),
    'mmseg': Command('mmseg_tool', 'any other tool of MMSegmentation', whole_errors=True),
}

_BROKEN_PIPE = 128 + 13  # what a shell makes of SIGPIPE

_EXAMPLES = """\
examples:
  sipe-mmseg check
  sipe-mmseg shapes data/shapes
  sipe-mmseg train sipe_r18_1xb16-6e_shapes-160x160
  sipe-mmseg predict work_dirs/sipe_r18_1xb16-6e_shapes-160x160 photos --out-dir maps
  sipe-mmseg labels --help

A config is the path of a file, a work directory, or the name of a shipped config (sipe-mmseg configs)."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line, by default this process's.

    Returns:
        The exit code: 0, or 1 if the command failed, or 2 if there is no such command.
    """
    _print_any_name()
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ('-h', '--help', 'help'):
        return _printed(overview(), 0 if words else 2)
    if words[0] == '--version':
        print(version())
        return 0
    for length in (2, 1):
        name = ' '.join(words[:length])
        if name in COMMANDS:
            return run_command(name, words[length:], f'{PROG} {name}')
    family = [name for name in COMMANDS if name.startswith(f'{words[0]} ')]
    if family:
        asked = words[1:] in (['-h'], ['--help'])
        return _printed(f'usage: {PROG} {words[0]} KIND ...\n\n{_listed(family)}', 0 if asked else 2)
    close = difflib.get_close_matches(words[0], COMMANDS, n=1)
    hint = f'did you mean {close[0]!r}?' if close else f'there are {", ".join(COMMANDS)}'
    print(f'{PROG}: there is no command {words[0]!r}; {hint}', file=sys.stderr)
    return 2


def run_command(name: str, words: Sequence[str], prog: str) -> int:
    """Run one command; a user's mistake, a fault of disk or memory, a stop: each becomes a line on standard error.

    Args:
        name: Its name in :data:`COMMANDS`.
        words: The command line after it.
        prog: What it was started as, for its messages.
    """
    return stoppable(lambda: _run(name, words, prog), _stop_message(name, words, prog))


def _run(name: str, words: Sequence[str], prog: str) -> int:
    command = COMMANDS[name]
    try:
        module = importlib.import_module(f'.{command.module}', __package__)
        code: int = module.main(list(words), prog)
        return code
    except BrokenPipeError:
        return _end_of_pipe()
    except Exception as error:
        if isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # what they hold leaves no room for a message
        message = explain(error, name) or _config_mistake(error)
        if message is None:
            if not (_raised_by_us(error) if command.whole_errors else isinstance(error, _MISTAKES)):
                raise
            message = str(error) or type(error).__name__
        print(message, file=sys.stderr)
        return 1


def _stop_message(name: str, words: Sequence[str], prog: str) -> str:
    """How to go on after a stop. Of several processes under torchrun the first one alone says it."""
    if os.environ.get('RANK', '0') != '0':
        return ''
    if name == 'train' and 'TORCHELASTIC_RUN_ID' in os.environ:
        return RESUME
    if name == 'train':
        resume = [] if '--resume' in words else ['--resume']
        return f'stopped; go on with: {prog} {shlex.join([*words, *resume])}'
    return f'stopped; the same command {"goes on" if COMMANDS[name].goes_on else "begins again"}'


def _print_any_name() -> None:
    """Have file names that the terminal's encoding lacks printed with backslashes, as standard error has it already."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def _raised_by_us(error: Exception) -> bool:
    """Whether it is one of the errors that our own code raises, with a message for people, about what it is given."""
    if isinstance(error, CommandError):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = Path(last.filename).is_relative_to(Path(__file__).parents[1] / 'sipe_mmseg')
    return isinstance(error, OSError | ValueError) and ours and (last.line or '').startswith('raise ')


def _config_mistake(error: Exception) -> str | None:
    """What is wrong with a config, if the error comes of that; where the stack is not imported, nothing was built."""
    if not isinstance(error, KeyError | TypeError) or 'sipe_mmseg.models' not in sys.modules:
        return None
    from sipe_mmseg.engine.config_mistakes import config_mistake

    return config_mistake(error)


def _printed(text: str, code: int) -> int:
    """Print what was asked for (0) to standard output, other help (2) to standard error; returns the exit code."""
    try:
        print(text, file=sys.stderr if code else sys.stdout, flush=True)
    except BrokenPipeError:
        return _end_of_pipe()
    return code


def _end_of_pipe() -> int:
    """What becomes of `sipe-mmseg configs | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return _BROKEN_PIPE


class CommandError(ValueError):
    """A mistake on the command line of a tool of MMSegmentation."""


def run_tool(name: str) -> int:
    """Run a command for a file of ``tools/``."""
    _print_any_name()
    return run_command(name, sys.argv[1:], f'python {sys.argv[0]}')


def overview() -> str:
    """All commands with a few words about each."""
    return (
        f'usage: {PROG} COMMAND ...\n\nImage-specific prototype exploration (SIPE) for MMSegmentation.\n\n'
        f'{_listed(COMMANDS)}\n\n{_EXAMPLES}\n{PROG} COMMAND --help tells what a command can do.'
    )


def version() -> str:
    """The version of this installation, or of this checkout."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed('sipe-mmseg')
    except PackageNotFoundError:
        import sipe_mmseg

        return sipe_mmseg.__version__


def _listed(names: Sequence[str] | dict[str, Command]) -> str:
    width = max(map(len, names))
    return '\n'.join(f'  {name:<{width}}  {COMMANDS[name].summary}' for name in names)
