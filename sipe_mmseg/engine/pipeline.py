"""Chains of commands that can be stopped and gone on with at any point."""

import glob
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import indent
from typing import Any, TypeGuard

from mmengine.config import Config

from ..datasets.atomic_write import atomic_write, write_json
from ..datasets.folder_lock import folder_lock
from ..datasets.json_files import is_deep, load_json
from ..datasets.messages import short, shown
from ..datasets.result_folder import changed_settings, file_digest
from .checkpoint_lookup import find_checkpoint
from .config_lookup import find_script, read_note
from .new_files import FileStates, file_states, newly_written
from .processes import end_with_parent

_STOPPED = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
_STAGE_KEYS = {'name', 'run', 'env', 'needs', 'makes', 'modules', 'figures', 'title', 'ignores', 'for_each'}
_MAX_NESTING = 10  # of variables made of variables
_SECONDS_TO_END = 5.0  # for a command that the terminal's Ctrl-C may not have reached
_SECONDS_BETWEEN_LOOKS = 0.5
# Modules that come with an extra.
_INSTALL = {'pydensecrf': 'pip install pydensecrf2==1.1 (a C++ compiler, and Python 3.12 or older)'}
# What a config says about speed and messages, not about results.
_UNDECISIVE = (
    *('work_dir', 'log_level', 'log_processor', 'visualizer', 'vis_backends'),
    *(f'default_hooks.{name}' for name in ('logger', 'maps', 'timer', 'finite_loss', 'work_dir_lock')),
    *('*num_workers', '*persistent_workers'),
)
_LOCK_FILE = '.pipeline.lock'  # not .lock, which a stage that writes into the same folder holds
_RECORD_KEYS = {'done', 'title', 'command', 'seconds', 'figures', 'made_with'}


class StageStopped(RuntimeError):
    """Ctrl-C or SIGTERM stopped a stage.

    Args:
        message: What to do next.
        code: The exit code of its command; minus the signal if one was sent.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.number = -code if code < 0 else code - 128


@dataclass(frozen=True)
class Stage:
    """One command of a pipeline.

    Attributes:
        name: What ``--only`` and the others call it.
        words: The command; ``@file`` stands for the content of a file that an earlier stage writes.
        env: Environment variables that it needs; ``@file`` as in the command.
        needs: Files and folders that it reads.
        makes: Files and folders that it writes.
        modules: Python modules that it needs besides those that everything needs.
        figures: JSON file with figures that it writes, as a pattern of :mod:`glob`: the one that it writes counts.
        title: What the table calls its figures.
        ignores: Keys of its configs that decide nothing in it, as patterns of :mod:`fnmatch`: ``model.test_cfg``.
    """

    name: str
    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    figures: str = ''
    title: str = ''
    ignores: tuple[str, ...] = ()

    def depends_on(self, other: 'Stage') -> bool:
        """Whether this stage reads what the other one writes."""
        return any(other.makes_path(need) for need in self.needs)

    def command(self) -> list[str]:
        """The command with the contents of its ``@file`` words, Python scripts after the Python that runs this.

        ``tools/...`` and ``configs/...`` that are not in the working directory are those that are installed.

        Raises:
            FileNotFoundError: If such a file is not there.
        """
        words = [_found(self._filled(word)) for word in self.words]
        return [sys.executable, *words] if words[0].endswith('.py') else words

    def environment(self) -> dict[str, str]:
        """The environment variables with the contents of their ``@file`` values; errors as in :meth:`command`."""
        return {name: self._filled(value) for name, value in self.env.items()}

    def _filled(self, word: str) -> str:
        if not word.startswith('@'):
            return word
        if not Path(word[1:]).is_file():
            raise FileNotFoundError(f'stage {self.name}: there is no {word[1:]}, which an earlier stage writes')
        if Path(word).name == 'last_checkpoint':  # which may name a file that a full disk has cut short
            return str(find_checkpoint(Path(word[1:]).parent))
        return read_note(word[1:])

    def code(self) -> list[str]:
        """The command's program, and the script and configs among its words."""
        return [self.words[0], *(word for word in self.words[1:] if _is_python_file(word))]

    def configs(self) -> list[str]:
        """The Python files after the script, which is the first of them."""
        return [word for word in self.words if _is_python_file(word)][1:]

    def makes_path(self, path: str) -> bool:
        """Whether a path is what this stage writes, or in a folder that it writes."""
        return any(Path(made) in (Path(path), *Path(path).parents) for made in self.makes)

    def shell(self) -> str:
        """The command as one would type it."""
        words = [_quoted(_found(word)) for word in self.words]
        python = ['python'] if self.words[0].endswith('.py') else []
        return ' '.join([f'{name}={_quoted(value)}' for name, value in self.env.items()] + python + words)


def _found(word: str) -> str:
    """The word, or the installed file that it means."""
    return find_script(word) if _is_python_file(word) else word


def _quoted(word: str) -> str:
    return f'"$(cat {shlex.quote(word[1:])})"' if word.startswith('@') else shlex.quote(word)


def read_stages(config: Mapping[str, Any]) -> list[Stage]:
    """Stages of a pipeline's config.

    ``config.stages`` is a list of dicts with the keys of :class:`Stage`; ``run`` is a command line. ``{name}`` in any
    text is the top-level variable of that name; a word or path that is one such name and nothing else becomes as many
    as the variable has if that is a list. ``for_each='variable'`` repeats a stage for each item of a dict, as ``{key}``
    and ``{value}``. In ``figures`` the stage's own text is a pattern, what a variable brings is not.

    Raises:
        ValueError: If a stage lacks its name or command, has a key that means nothing, text where a list should be, or
            a name that is taken; if there is no such variable, or one that is made of itself; or if torchrun starts a
            tool that is not told so.
    """
    kinds = (str, int, float, list, tuple, dict)
    variables = {name: value for name, value in config.items() if isinstance(value, kinds)}
    stages: list[Stage] = []
    for number, described in enumerate(config.get('stages') or (), start=1):
        wrong = set(described) - _STAGE_KEYS
        if wrong or not {'name', 'run'} <= set(described):
            raise ValueError(
                f'stages, number {number}: has {", ".join(sorted(described))}; a stage has name and run, and may have '
                f'{", ".join(sorted(_STAGE_KEYS - {"name", "run"}))}'
            )
        for key in ('needs', 'makes', 'modules', 'ignores'):
            if not isinstance(described.get(key, []), list | tuple):
                raise ValueError(f'stage {described["name"]}: {key} is {described[key]!r}; it should be a list')
        items: list[dict[str, Any]] = [{}]
        if 'for_each' in described:
            repeated = variables.get(described['for_each'])
            if not isinstance(repeated, dict):
                raise ValueError(
                    f'stage {described["name"]}: for_each is {described["for_each"]!r}; it should name a variable of '
                    'the config that is a dict'
                )
            items = [{'key': key, 'value': value} for key, value in repeated.items()]
        for item in items:
            stages.append(_stage(described, {**variables, **item}))
    if not stages:
        raise ValueError('the config has no stages: a pipeline is a list of them')
    names = [stage.name for stage in stages]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f'stages: the name {min(twice)} is there twice')
    return stages


def _stage(described: Mapping[str, Any], variables: Mapping[str, Any]) -> Stage:
    escaped = {name: glob.escape(value) if isinstance(value, str) else value for name, value in variables.items()}

    def fill(text: str, variables: Mapping[str, Any] = variables) -> str:
        unfilled = text
        try:
            for _ in range(_MAX_NESTING):  # variables may be made of other ones
                if (filled := text.format_map(variables)) == text:
                    return text
                text = filled
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f'stage {described["name"]}: {text!r} names a variable that is not there ({error})'
            ) from error
        raise ValueError(f'stage {described["name"]}: {unfilled!r} names a variable that is made of itself')

    def fill_all(texts: Sequence[str]) -> tuple[str, ...]:
        filled: list[str] = []
        for text in texts:
            whole = variables.get(text[1:-1]) if text.startswith('{') and text.endswith('}') else None
            filled += [fill(str(part)) for part in whole] if isinstance(whole, list | tuple) else [fill(text)]
        return tuple(filled)

    words = fill_all(shlex.split(described['run']))
    if Path(words[0]).name == 'torchrun' and '--launcher' not in words:
        raise ValueError(
            f'stage {described["name"]}: torchrun without --launcher pytorch starts processes that know nothing of '
            "each other; a pipeline that sets launch sets launcher = ['--launcher', 'pytorch'], too"
        )
    return Stage(
        name=fill(described['name']),
        words=words,
        env={name: fill(str(value)) for name, value in described.get('env', {}).items()},
        needs=fill_all(described.get('needs', ())),
        makes=fill_all(described.get('makes', ())),
        modules=fill_all(described.get('modules', ())),
        figures=fill(described.get('figures', ''), escaped),
        title=fill(described.get('title', '')),
        ignores=fill_all(described.get('ignores', ())),
    )


class Pipeline:
    """Stages, run one after the other, each recorded in ``<work_dir>/stages`` when it is done.

    A stage that is done is not run again; one that was stopped is, and its command goes on where it was. A stage that
    was done or begun with another command, other configs or other results of earlier stages is never gone on with: if
    it has made anything, that is an error until ``redo`` moves its old results aside.

    Args:
        stages: The stages, in order.
        work_dir: Where the records are; the results' places are in the stages.
        say: Where messages go.

    Attributes:
        way_on: What to do after a stop.
    """

    def __init__(
        self, stages: Sequence[Stage], work_dir: str | os.PathLike[str], say: Callable[[str], None] = print
    ) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir)
        self.say = say
        self.way_on = 'the same command goes on from here'
        # Each config as its stages see it, by its path, their environment variables and what they ignore.
        self._configs: dict[Any, Any] = {}
        self._contents: dict[str, str] = {}
        self._fingerprints: dict[str, dict[str, str]] = {}
        for index, stage in enumerate(self.stages):
            self._fingerprints[stage.name] = self._fingerprint(stage, self.stages[:index])

    def run(self, chosen: Sequence[str], redo: Sequence[str] = (), again: Sequence[str] = ()) -> None:
        """Run those of the chosen stages that are not done.

        Args:
            chosen: Names of the stages to run.
            redo: Names of stages to begin anew, with all that depend on them. Old results are moved aside when
                everything else is known to be in order.
            again: Names of chosen stages to run even if they are done, over what they have made: a tool that writes
                what is missing then does.

        Raises:
            FileNotFoundError: If something that a stage needs is not there and no earlier one makes it.
            RuntimeError: If another process is at work in the folder, or a stage fails.
            StageStopped: If a stage is stopped by Ctrl-C or SIGTERM.
            ValueError: If a stage was begun with other settings, or is to begin anew without being chosen; or if
                something else has the name of the lock.
        """
        with folder_lock(self.work_dir, _LOCK_FILE, keep=True) as lock:
            redone = self._with_dependents(redo)
            self._check_redone(redone, chosen, redo)
            waiting = [
                stage
                for stage in self.stages
                if stage.name in chosen and (stage in redone or not self.is_done(stage) or stage.name in again)
            ]
            self.check(waiting)
            if redone:
                self._move_aside(redone)
                self.way_on = 'the same command without --redo goes on from here'
            try:
                for stage in waiting:
                    self._run(stage, f'{self.stages.index(stage) + 1}/{len(self.stages)}', lock)
                    self.write_summary()
            finally:
                self.write_summary()

    def state(self, stage: Stage) -> str:
        """``'done'``; ``'changed'``, if it was begun with other settings and has made something; or ``'to do'``."""
        record = self.record(stage)
        if record is None:
            return 'to do'
        if self._changed(stage, record):
            return 'changed' if any(Path(made).exists() for made in stage.makes) else 'to do'
        return 'done' if record['done'] and all(Path(made).exists() for made in stage.makes) else 'to do'

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was finished with these very settings and its results are there.

        Raises:
            ValueError: If it was finished or begun with other settings, and has made something.
        """
        state = self.state(stage)
        if state == 'changed':
            raise ValueError(
                f'stage {stage.name} was begun with other settings:\n'
                + '\n'.join(self._changed(stage, self.record(stage) or {}))
                + f'\n--redo {stage.name} moves its results aside and begins anew, and so does every stage that '
                'depends on it; or name another folder (--work-dir)'
            )
        return state == 'done'

    def record(self, stage: Stage) -> dict[str, Any] | None:
        """What is written down about a stage; None if it was never begun.

        Raises:
            ValueError: If its file is no such record.
        """
        path = self._record_path(stage)
        if not path.is_file():
            return None
        try:
            record: Any = load_json(path)
        except ValueError as error:
            raise ValueError(f'{error}; remove it and run the stage again') from error
        if not _is_record(record):
            raise ValueError(f'{path}: not the record of a stage; remove it and run the stage again')
        return record

    def check(self, waiting: Sequence[Stage]) -> None:
        """Make sure that all inputs, scripts, configs and modules are there, before the first stage begins.

        Raises:
            FileNotFoundError: If something is missing; the message names everything that is.
        """
        files: dict[str, str] = {}  # each with the first stage that wants it
        others = []
        for stage in waiting:
            for path in stage.code():
                there = Path(_found(path)).is_file() or (not path.endswith('.py') and shutil.which(path) is not None)
                if not there and not any(each.makes_path(path) for each in self.stages):
                    files.setdefault(path, f'  {path}, which {stage.name} runs')
            for need in stage.needs:
                maker = next((each for each in self.stages if each.makes_path(need)), None)
                if maker is None and not Path(need).exists():
                    files.setdefault(need, f'  {need}, which {stage.name} reads')
                elif maker is not None and maker not in waiting and not self.is_done(maker):
                    others.append(f'  {need}, which {stage.name} reads: run the stage {maker.name} first')
            for module in stage.modules:
                if not _is_installed(module):
                    others.append(
                        f'  the Python module {module}, which {stage.name} needs: '
                        + _INSTALL.get(module, 'install the package that it is in')
                    )
        lines = [*others, *files.values()]
        if files:
            lines.append(
                f'Paths are relative to the working directory, {Path.cwd()}; tools and configs may also be those that '
                'are installed'
            )
        if lines:
            raise FileNotFoundError('not there:\n' + '\n'.join(dict.fromkeys(lines)))

    def summary(self) -> dict[str, Any]:
        """Command, seconds and figures of every stage that is done with these very settings."""
        found = {}
        for stage in self.stages:
            record = self.record(stage)
            if record is not None and record['done'] and not self._changed(stage, record):
                found[stage.name] = {name: record[name] for name in ('title', 'command', 'seconds', 'figures')}
        return found

    def write_summary(self) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        write_json(self.work_dir / 'summary.json', self.summary())
        with atomic_write(self.work_dir / 'summary.md') as temporary:
            temporary.write_text(self.table() + '\n', encoding='utf-8', errors='backslashreplace')

    def table(self) -> str:
        """Markdown table of the figures in % and the times."""
        lines = ['| stage | of | mIoU | FP | FN | unknown | time |', '|---|---|---|---|---|---|---|']
        for name, found in self.summary().items():
            figures = found['figures']
            shown = [
                '' if figures.get(key) is None else f'{figures[key]:.1f}' for key in ('mIoU', 'FP', 'FN', 'unknown')
            ]
            lines.append('| ' + ' | '.join([name, found['title'], *shown, _duration(found['seconds'])]) + ' |')
        return '\n'.join(lines)

    def _run(self, stage: Stage, position: str, lock: int) -> None:
        begun = self.record(stage)
        spent = begun['seconds'] if begun is not None and not self._changed(stage, begun) else 0.0
        self._write_record(stage, done=False, seconds=spent, figures={})
        self.say(f'\n[{position}] {stage.name}\n$ {stage.shell()}')
        before = file_states(stage.figures)
        start = time.perf_counter()
        try:
            code = _run_child(stage.command(), {**os.environ, **stage.environment()}, lock)
        finally:
            spent += time.perf_counter() - start
            self._write_record(stage, done=False, seconds=spent, figures={})
        if code == -signal.SIGKILL:
            raise RuntimeError(
                f'stage {stage.name} was killed, by hand or by the system because memory ran out (its log says which; '
                f'smaller batches need less); {self.way_on}'
            )
        if code in _STOPPED:
            raise StageStopped(f'stage {stage.name} was stopped; {self.way_on}', code)
        if code != 0:
            raise RuntimeError(
                f'stage {stage.name} failed with exit code {code}, see above. When that is mended, {self.way_on}'
            )
        absent = [made for made in stage.makes if not Path(made).exists()]
        if absent:
            raise RuntimeError(f'stage {stage.name} ended well, but did not make {", ".join(absent)}')
        self._write_record(stage, done=True, seconds=spent, figures=_figures(stage, before))

    def _write_record(self, stage: Stage, done: bool, seconds: float, figures: Mapping[str, Any]) -> None:
        record = dict(
            done=done,
            title=stage.title,
            command=stage.shell(),
            seconds=round(seconds, 1),
            figures=figures,
            made_with=self._fingerprints[stage.name],
            configs={path: self._config(path, stage) for path in self._config_paths(stage)},
        )
        write_json(self._record_path(stage), record)

    def _record_path(self, stage: Stage) -> Path:
        return self.work_dir / 'stages' / f'{stage.name}.json'

    def _fingerprint(self, stage: Stage, earlier: Sequence[Stage]) -> dict[str, str]:
        """What decides a stage's results: its command, environment, configs, the files it is given, earlier stages."""
        found = {'command': shlex.join(stage.words)}
        found.update({f'environment variable {name}': value for name, value in stage.env.items()})
        for path in self._config_paths(stage):
            found[f'config {path}'] = _digest(self._config(path, stage))
        for need in stage.needs:
            if Path(need).is_file() and not any(other.makes_path(need) for other in self.stages):
                found[f'content of {need}'] = self._content(need)
        for other in earlier:
            if stage.depends_on(other):
                found[f'stage {other.name}'] = _digest(self._fingerprints[other.name])
        return found

    def _content(self, path: str) -> str:
        if path not in self._contents:
            self._contents[path] = file_digest(path)
        return self._contents[path]

    def _config_paths(self, stage: Stage) -> list[str]:
        return [path for path in stage.configs() if Path(_found(path)).is_file()]

    def _config(self, path: str, stage: Stage) -> Any:
        key = (path, tuple(sorted(stage.env.items())), stage.ignores)
        if key not in self._configs:
            self._configs[key] = _decisive(_found(path), stage.env, (*_UNDECISIVE, *stage.ignores))
        return self._configs[key]

    def _changed(self, stage: Stage, record: Mapping[str, Any]) -> list[str]:
        """Lines that say in what the settings of a record differ from the present ones."""
        before, now = record['made_with'], self._fingerprints[stage.name]
        lines = []
        for name in {**now, **before}:
            if before.get(name) == now.get(name):
                continue
            kind, _, path = name.partition(' ')
            old = record.get('configs', {}).get(path)
            if kind == 'config' and old is not None and name in now:
                lines.append(f'  {name}:\n' + indent(changed_settings(old, self._config(path, stage)), '  '))
            elif kind == 'stage' and name in before and name in now:
                lines.append(f'  {name}: its settings are others, too')
            else:
                old, new = (short(each.get(name, 'not there')) for each in (before, now))
                lines.append(f'  {short(name)}: was {old}, now {new}')
        return lines

    def _with_dependents(self, names: Sequence[str]) -> list[Stage]:
        redone: list[Stage] = []
        for stage in self.stages:
            if stage.name in names or any(stage.depends_on(other) for other in redone):
                redone.append(stage)
        return redone

    def _check_redone(self, redone: Sequence[Stage], chosen: Sequence[str], redo: Sequence[str]) -> None:
        """Make sure that what is moved aside is also made again: stages that depend on a chosen one, too."""
        left_out = [
            stage.name
            for stage in redone
            if stage.name not in chosen and (stage.name in redo or self._record_path(stage).is_file())
        ]
        if left_out:
            raise ValueError(
                f'--redo {" ".join(redo)} begins {", ".join(stage.name for stage in redone)} anew, but '
                f'{", ".join(left_out)} would not be run: choose more stages (--only, --from, --until, --skip)'
            )

    def _move_aside(self, stages: Sequence[Stage]) -> None:
        """Rename a stage's results to ``<name>.old``, ``<name>.old2`` and so on, and forget that it was begun."""
        for stage in reversed(stages):  # stopped in between, nothing stays that depends on what has gone
            for made in map(Path, stage.makes):
                if made.exists():
                    aside = made.with_name(f'{made.name}.old')
                    number = 2
                    while aside.exists():
                        aside = made.with_name(f'{made.name}.old{number}')
                        number += 1
                    made.rename(aside)
                    self.say(f'{made} is now {aside}')
            self._record_path(stage).unlink(missing_ok=True)


def _run_child(command: Sequence[str], env: Mapping[str, str], lock: int) -> int:
    """Run a command to its end. It ends when this process is killed; SIGTERM and Ctrl-C reach it first.

    Of what a command has started itself, our tools end with it under torchrun. Anything else may live on when this
    process is killed; it has inherited the file descriptor ``lock``, so that nobody else can begin beside it.

    Returns:
        Its exit code; minus the signal if one was sent to this process, whatever the child made of it.
    """
    # The words are those of the user's own config, and no shell reads them.
    child = subprocess.Popen(command, env=dict(env), preexec_fn=end_with_parent, pass_fds=[lock])  # noqa: S603
    caught: list[int] = []

    # These handlers raise nothing: a KeyboardInterrupt inside wait() can lose the child's exit code, and 0 takes its
    # place (Python 3.10), so that a stopped stage would count as done.
    def catch(number: int, _: Any) -> None:
        caught.append(number)
        # Ctrl-C on a terminal has reached the child already, which ends in its own way; kill -INT has not, see below.
        if number == signal.SIGTERM or caught.count(signal.SIGINT) > 1:
            child.terminate()

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    patience: float | None = None
    try:
        while True:
            try:
                code = child.wait(_SECONDS_BETWEEN_LOOKS)
                return -caught[0] if caught else code
            except subprocess.TimeoutExpired:
                if not caught:
                    continue
            patience = time.monotonic() + _SECONDS_TO_END if patience is None else patience
            if time.monotonic() > patience:
                child.send_signal(caught[0])
                patience = float('inf')
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _figures(stage: Stage, before: FileStates) -> dict[str, float]:
    """Numbers of the figures file that the stage has written."""
    if not stage.figures:
        return {}
    path = newly_written(stage.figures, before)
    if path is None:
        raise RuntimeError(f'stage {stage.name} ended well, but wrote no figures ({stage.figures})')
    figures = load_json(path)
    if not isinstance(figures, dict):
        raise ValueError(f'{path}: holds {shown(figures)}; it should hold the figures of stage {stage.name} by name')
    return {name: value for name, value in figures.items() if _is_number(value)}


def _is_record(record: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is what a pipeline writes down about a stage."""
    if not isinstance(record, dict) or not record.keys() >= _RECORD_KEYS or is_deep(record):
        return False
    made_with, figures, configs = record['made_with'], record['figures'], record.get('configs', {})
    return (
        isinstance(record['done'], bool)
        and all(isinstance(record[key], str) for key in ('title', 'command'))
        and _is_number(record['seconds'])
        and 0 <= record['seconds'] < timedelta.max.total_seconds()
        and isinstance(figures, dict)
        and all(map(_is_number, figures.values()))
        and isinstance(made_with, dict)
        and all(isinstance(value, str) for value in made_with.values())
        and isinstance(configs, dict)
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number that can be written with a decimal point."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 53)


def _is_python_file(word: str) -> bool:
    return word.endswith('.py') and word[0] not in '-@' and '=' not in word


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _decisive(path: str, env: Mapping[str, str], ignored: Sequence[str]) -> Any:
    """What decides a stage's results in a config with all that it inherits, as its stage will see it.

    Args:
        path: The config.
        env: The stage's environment variables.
        ignored: Patterns of keys that decide nothing, such as ``model.test_cfg``.
    """
    before = dict(os.environ)
    os.environ.update(env)
    try:
        settings = Config.fromfile(path, import_custom_modules=False).to_dict()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return json.loads(json.dumps(_without(settings, ignored), default=str))


def _without(value: Any, ignored: Sequence[str], key: str = '') -> Any:
    """Nested dicts and lists without what has such a key: those of the dicts around it before its own, with dots."""
    if isinstance(value, list | tuple):
        return [_without(item, ignored, key) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {name: f'{key}.{name}'.lstrip('.') for name in value}
    return {
        name: _without(item, ignored, inner[name])
        for name, item in value.items()
        if not any(fnmatchcase(inner[name], pattern) for pattern in ignored)
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
