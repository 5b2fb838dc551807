"""Every command on a page is one that its tool accepts; configs, options, files and links on a page exist.

A command that nothing here knows how to check fails: teach this file to check it, or put it into ``UNCHECKED`` with the
reason why it cannot be. The tests of the tutorial and of the how-tos run what can be run without other data.
"""

import argparse
import inspect
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import mmengine.registry
import mmseg.registry
import pytest
from mmengine.config import Config
from mmengine.registry import Registry

from sipe_mmseg.models.irn_segmentor import IRNTestSettings
from sipe_mmseg_cli.arguments import parse_changes
from sipe_mmseg_cli.main import COMMANDS, run_command

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ('README.md', 'docs/*.md', 'configs/*/README.md') for path in REPOSITORY.glob(pattern)
)
CONFIGS = sorted((REPOSITORY / 'configs').glob('*/*.py'))
DATASETS = sorted((REPOSITORY / 'configs/_base_/datasets').glob('*.py'))

UNCHECKED = {
    'head': 'run by test_tutorial.py',
    'mkdir': 'run by test_tutorial.py',
    'cp': 'run by test_tutorial.py',
    'sed': 'run by test_tutorial.py',
    '.': 'entering a virtual environment: `make` uses one without entering it',
}
PIP_PACKAGES = {
    'setuptools<82',
    'seaborn',
    'grad-cam',
    'ttach',
    'scikit-learn',
    'tqdm',
}  # of others, that a page says to install

PLACEHOLDERS = {'CONFIG', 'CHECKPOINT', 'DIR', 'FILE', 'FOLDER', 'WORK_DIR', 'GPUS'}
SHELL_LANGUAGES = ('shell', 'bash', 'sh', 'console')
ASSIGNMENT = re.compile(r'([A-Za-z_]\w*)=(.*)', re.DOTALL)
INLINE = re.compile(r'`([^`]+)`')
COMMAND_INLINE = re.compile(
    r'(?:\w+=\S+ )*(?:python3? |pytest |make |pip |torchrun |sipe-mmseg |tools/\w+\.(?:py|sh) )'
)
FENCED = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')


class Command(NamedTuple):
    """A command of a page; one in the running text (``inline``) may leave arguments out."""

    page: str
    words: tuple[str, ...]
    inline: bool

    def __str__(self) -> str:
        return f'{self.page}: {shlex.join(self.words)}'


class Refused(Exception):
    """What a parser says of a command line that it does not accept."""


# Reading the pages ----------------------------------------------------------------------------------------------------


def commands_of(page: Path, blocks: list[Any]) -> Iterator[Command]:
    name = str(page.relative_to(REPOSITORY))
    variables: dict[str, str] = {}
    for block in blocks:
        if block.language in SHELL_LANGUAGES:
            for line in block.text.replace('\\\n', ' ').splitlines():
                yield from _commands(name, shlex.split(line, comments=True), variables, inline=False)
    for code in INLINE.findall(FENCED.sub('', page.read_text())):
        text = ' '.join(code.split())
        if COMMAND_INLINE.match(text):
            words = shlex.split(text)
            program = next(word for word in words if not ASSIGNMENT.fullmatch(word))
            if program.endswith('.py'):
                words.insert(words.index(program), 'python')
            yield from _commands(name, words, {}, inline=True)


def _commands(page: str, words: list[str], variables: dict[str, str], inline: bool) -> Iterator[Command]:
    """The command of a line, variables replaced; what the line assigns is remembered."""
    if words[:1] == ['export']:
        words = words[1:]
    found: dict[str, str] = {}
    while words and (match := ASSIGNMENT.fullmatch(words[0])):
        found[match[1]] = match[2]
        words = words[1:]
    if not words:
        variables.update(found)
        return
    known = {**variables, **found}
    filled = [re.sub(r'\$\{?(\w+)\}?', lambda match: known.get(match[1], match[0]), word) for word in words]
    yield Command(page, tuple(filled), inline)


# Asking the tools -----------------------------------------------------------------------------------------------------


@cache
def parser_of(tool: str, *subtool: str) -> argparse.ArgumentParser:
    """The parser that a tool of this repository, or a command of ``sipe-mmseg``, makes when it is run."""
    found: list[argparse.ArgumentParser] = []

    def stop(self: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        found.append(self)
        raise SystemExit(0)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [str(REPOSITORY / tool), *subtool])
        if tool in COMMANDS:
            run_command(tool, subtool, tool)
        else:
            runpy.run_path(str(REPOSITORY / tool), run_name='__main__')
    assert found, f'{tool} ends before it reads its command line'

    def refuse(message: str) -> NoReturn:
        raise Refused(message)

    found[0].error = refuse  # type: ignore[method-assign]
    return found[0]


def check_tool(tool: str, words: list[str], command: Command, files: set[str]) -> None:
    """That a tool accepts these words, and that what they name exists.

    Raises:
        Refused: If not, with the reason.
    """
    if tool not in COMMANDS and not (REPOSITORY / tool).is_file():
        raise Refused(f'there is no {tool}')
    subtool: list[str] = []
    if tool in ('tools/mmseg_tool.py', 'mmseg'):
        subtool, words = words[:1], words[1:]
        if subtool in (['misc/print_config.py'], []):
            return  # run by tests/tools/test_mmseg_tool.py
    parser = parser_of(tool, *subtool)
    if command.inline:
        known = {option for action in parser._actions for option in action.option_strings}
        unknown = [word for word in words if word.startswith('--') and word.split('=')[0] not in known]
        if unknown:
            raise Refused(f'{tool} has no option {", ".join(unknown)}')
    try:
        # `SEED` is a number to put in, `[--amp]` an option to leave out or not, `...` more words or one.
        words = [{'SEED': '0'}.get(word, re.sub(r'^\[(-.*)\]$', r'\1', word)) for word in words]
        words = [word for before, word in pairwise(['', *words]) if word != '...' or before.startswith('--')]
        arguments = parser.parse_args(words)
    except Refused as reason:
        if command.inline and re.search('required|expected .* argument', str(reason)):
            return
        raise
    for name in ('config', 'dataset'):
        path = getattr(arguments, name, None)
        if isinstance(path, str):
            options = getattr(arguments, 'cfg_options', None) or {}
            check_config(path, parse_changes(options) if isinstance(options, list) else options, files)


def check_config(path: str, options: dict[str, Any], files: set[str]) -> None:
    if path in PLACEHOLDERS or '...' in path or path.startswith('$'):
        if options:
            check_options_of_any(options)
        return
    names = (path.removesuffix('.py'), path)
    shipped = next((found for found in DATASETS + CONFIGS if found.stem in names), None)
    if path.startswith('work_dirs/'):
        return  # a training leaves its config there
    if path.startswith('my/'):
        if path not in files:
            raise Refused(f'no page has the reader write {path}')
        return  # built and run by the tests of its page
    if path.startswith('my_configs/'):
        path = path.removeprefix('my_')  # copied by `sipe-mmseg configs NAME --out my_configs`
    found = REPOSITORY / path if (REPOSITORY / path).is_file() else shipped if '/' not in path else None
    if found is None:
        raise Refused(f'there is no config {path}')
    config = load(found)
    unknown = [key for key, value in options.items() if not takes(config, key, value)]
    if unknown:
        raise Refused(f'{path} has no {", ".join(unknown)}')


def check_options_of_any(options: dict[str, Any]) -> None:
    unknown = [key for key, value in options.items() if not any(takes(load(path), key, value) for path in CONFIGS)]
    if unknown:
        raise Refused(f'no shipped config has {", ".join(unknown)}')


@cache
def load(path: Path) -> Config:
    return Config.fromfile(path)


def takes(config: Config, key: str, value: Any) -> bool:
    """Whether a config has a key, or names a class there that takes such an argument."""
    place: Any = config._cfg_dict
    *way, last = key.split('.')
    if way == ['model', 'test_cfg'] and config.get('model', {}).get('type') == 'IRNSegmentor':
        return last in IRNTestSettings.__dataclass_fields__
    for step, part in enumerate(way):
        if isinstance(place, (list, tuple)) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict) and part in place:
            place = place[part]
        else:  # a new one, such as a hook
            return step == len(way) - 1 and last == 'type' and registered(value) is not None
    if isinstance(place, (list, tuple)):
        return last.isdigit() and int(last) < len(place)
    if not isinstance(place, dict):
        return False
    if last in place:
        return last != 'type' or registered(value) is not None
    found = registered(place.get('type'))
    return found is not None and last in inspect.signature(found).parameters


def registered(name: Any) -> Callable | None:
    registries = [item for module in (mmseg.registry, mmengine.registry) for item in vars(module).values()]
    found = (item.get(name) for item in registries if isinstance(item, Registry) and isinstance(name, str))
    return next((item for item in found if item is not None), None)


# Each program ---------------------------------------------------------------------------------------------------------


def check(command: Command, files: set[str]) -> None:
    """Check one command.

    Raises:
        Refused: If it is wrong, or nothing knows how to check it.
    """
    program, *words = command.words
    if program in ('python', 'python3') and words[:2] == ['-m', 'pytest']:
        program, words = 'pytest', words[2:]
    if program == 'torchrun':
        if words[0] != '--nproc-per-node' or not words[1].isdigit():
            raise Refused('torchrun --nproc-per-node NUMBER is what is checked')
        program, words = 'python', words[2:]
    if program in UNCHECKED:
        return
    if program == 'sipe-mmseg':
        check_own(words, command, files)
    elif program == 'pytest':
        check_pytest(words)
    elif program == 'make':
        targets = re.search(r'^\.PHONY: (.+)$', (REPOSITORY / 'Makefile').read_text(), re.MULTILINE)
        assert targets
        words = [word for word in words if not ASSIGNMENT.fullmatch(word)]
        check_all(words, lambda word: word in targets[1].split(), 'target of the Makefile')
    elif program == 'pip':
        check_pip(words)
    elif program in ('tools/dist_train.sh', 'tools/dist_test.sh'):
        place = 1 if program == 'tools/dist_train.sh' else 2
        if len(words) <= place:
            return  # its name alone, and placeholders
        if not (words[place].isdigit() or words[place] in PLACEHOLDERS or '...' in words):
            raise Refused(f'{words[place]} is no number of GPUs')
        tool = program.replace('dist_', '').replace('.sh', '.py')
        check_tool(tool, [word for index, word in enumerate(words) if index != place], command, files)
    elif program in ('tools/check_stacks.sh', 'tools/check_upgrade.sh', 'tools/lock_versions.sh'):
        check_all([program], lambda word: (REPOSITORY / word).is_file(), 'file')
    elif program in ('python', 'python3') and words[0] == '-m' and words[1] == 'venv':
        return  # the tests run in one
    elif program in ('python', 'python3') and words[0].endswith('.py'):
        if words[0].startswith('my/'):
            check_all(words[:1], lambda word: word in files, 'file that a page has the reader write')
        elif '...' in words[0]:  # MMSegmentation's own, wherever it is
            check_tool(f'tools/{Path(words[0]).name}', words[1:], command, files)
        else:
            check_tool(words[0], words[1:], command, files)
    else:
        raise Refused('nothing checks such a command: see the top of this file')


def check_own(words: list[str], command: Command, files: set[str]) -> None:
    """A command of ``sipe-mmseg``; alone it lists them all."""
    name = next((name for name in (' '.join(words[:2]), ' '.join(words[:1])) if name in COMMANDS), None)
    if name is not None:
        rest = words[len(name.split()) :]
        if rest != ['--help']:
            check_tool(name, rest, command, files)
    elif words and words[0] not in ('--help', '--version', 'COMMAND'):
        raise Refused(f'sipe-mmseg has no command {words[0]}')


def check_all(words: list[str], is_right: Callable[[str], Any], what: str) -> None:
    for word in words:
        if not is_right(word):
            raise Refused(f'{word} is no {what}')


def check_pytest(words: list[str]) -> None:
    rest = iter(words)
    for word in rest:
        if word in ('-m', '-k', '--parity-dir', '--fuzz-inputs'):
            next(rest)
        elif word.startswith('-') or not (REPOSITORY / word).exists():
            raise Refused(f'{word}: no option that is checked, and no file')


def check_pip(words: list[str]) -> None:
    """This package comes from a clone, as it is on no index; what its extras name may be installed by itself."""
    found = re.findall(r'^(\w+) = (\[.*\])$', (REPOSITORY / 'pyproject.toml').read_text(), re.MULTILINE)
    pinned = {word for _, items in found for word in re.findall(r'[\w-]+==[\w.]+', items)}
    if words[0] != 'install':
        raise Refused('pip install is what is checked')
    for word in words[1:]:
        named = re.fullmatch(r'\.(?:\[([\w,]+)\])?', word)
        options = word in ('-e', '--editable', '--no-deps', '--no-build-isolation', '--force-reinstall')
        own = named and set(filter(None, (named[1] or '').split(','))) <= dict(found).keys()
        if not (own or options or word in PIP_PACKAGES | pinned or word == 'mmsegmentation'):
            raise Refused(f'{word}: neither this package with an extra of its own nor known')


# The tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def files(page_blocks: Callable) -> set[str]:
    """What the pages have the reader write."""
    return {'my/data.py', *(block.file for page in PAGES for block in page_blocks(page) if block.file)}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_are_accepted(page: Path, page_blocks: Callable, files: set[str]) -> None:
    problems = []
    for command in commands_of(page, page_blocks(page)):
        try:
            check(command, files)
        except Refused as reason:
            problems.append(f'{command}\n    {reason}')
    assert not problems, '\n'.join(problems)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_options_in_the_text_exist(page: Path) -> None:
    """Of `--cfg-options KEY=VALUE ...` and `KEY.KEY=VALUE` in the running text."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=mmengine.config.DictAction, default={})
    for code in INLINE.findall(FENCED.sub('', page.read_text())):
        words = shlex.split(' '.join(code.split())) if '"' not in code and "'" not in code else []
        if words[:1] == ['--cfg-options'] or re.fullmatch(r'[a-z_]+\.[\w.]+=[^ (]+', code):
            options = [word for word in words if '=' in word and word.split('=')[0].islower()]
            options = [word for word in options if word.split('=')[0] not in ('ir_options', 'launch')]
            if options:
                check_options_of_any(parser.parse_args(['--cfg-options', *options]).cfg_options)


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).strip().lower()
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    problems = []
    for link in LINK.findall(FENCED.sub('', page.read_text())):
        path, _, anchor = link.partition('#')
        if re.match(r'[a-z]+:', path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            problems.append(f'{link}: there is no such file')
        elif anchor:
            headings = re.findall(r'^#+ (.+)$', FENCED.sub('', target.read_text()), re.MULTILINE)
            if anchor not in map(slug, headings):
                problems.append(f'{link}: there is no such heading')
    assert not problems, '\n'.join(problems)


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        ('python tools/no_such.py', 'there is no tools/no_such.py'),
        ('python tools/report.py labels --dataset voc12 --out a.html --fast', 'unrecognized arguments: --fast'),
        ('python tools/evaluate_labels.py labels', 'required: --dataset'),
        ('sipe-mmseg paint', 'sipe-mmseg has no command paint'),
        ('sipe-mmseg labels sipe_r18 a.pth --out labels', 'there is no config sipe_r18'),
        ('sipe-mmseg evaluate labels --dataset shapes --fast', 'unrecognized arguments: --fast'),
        ('python tools/train.py configs/sipe/no_such.py', 'there is no config configs/sipe/no_such.py'),
        (f'python tools/train.py {CONFIGS[-1].relative_to(REPOSITORY)} --cfg-options a.b=1', 'has no a.b'),
        ('python tools/train.py CONFIG --cfg-options model.decode_head.beta=1', 'no shipped config has model.decode'),
        ('tools/dist_train.sh CONFIG many --resume', 'many is no number of GPUs'),
        ('make coffee', 'coffee is no target'),
        ('pip install "sipe-mmseg[lite]"', r'sipe-mmseg\[lite\]: neither this package'),
        ('pip install mmcv-lite==2.2.0', r'mmcv-lite==2\.2\.0: neither this package'),
        ('pip install ".[gpu]"', r'\.\[gpu\]: neither this package'),
        ('curl https://example.com', 'nothing checks such a command'),
        ('pytest tests/no_such', 'no file'),
    ],
)
def test_wrong_commands_are_found(words: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check(Command('page', tuple(shlex.split(words)), inline=False), set())


def test_pages_and_commands_are_found(page_blocks: Callable) -> None:
    assert {'README.md', 'docs/tutorial.md', 'docs/howto.md', 'configs/sipe/README.md'} <= {
        str(page.relative_to(REPOSITORY)) for page in PAGES
    }
    (page,) = [page for page in PAGES if page.parent == REPOSITORY]
    found = [shlex.join(command.words) for command in commands_of(page, page_blocks(page))]
    assert 'make demo' in found
    assert any(words.startswith('python tools/generate_labels.py configs/sipe/sipe_r50') for words in found)
    assert any(words.startswith('python tools/draw_overlays.py CONFIG CHECKPOINT') for words in found)
