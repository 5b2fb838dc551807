"""Chains of commands that can be stopped and gone on with at any point."""

import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..datasets.atomic_write import atomic_write

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
_STOPPED = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGINT, 128 + signal.SIGTERM)
_STAGE_KEYS = {'name', 'run', 'env', 'needs', 'makes', 'figures', 'title', 'for_each'}


@dataclass(frozen=True)
class Stage:
    """One command of a pipeline.

    Attributes:
        name: What ``--only`` and the others call it.
        words: The command; ``@file`` stands for the content of a file that an earlier stage writes.
        env: Environment variables that it needs.
        needs: Files and folders that it reads.
        makes: Files and folders that it writes.
        figures: JSON file with figures that it writes (or a pattern of such files, of which the newest counts).
        title: What the table calls its figures.
    """

    name: str
    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    figures: str = ''
    title: str = ''

    def depends_on(self, other: 'Stage') -> bool:
        """Whether this stage reads what the other one writes."""
        return any(other.makes_path(need) for need in self.needs)

    def command(self) -> list[str]:
        """The command with the contents of its ``@file`` words, Python scripts after the Python that runs this.

        Raises:
            FileNotFoundError: If such a file is not there.
        """
        words = []
        for word in self.words:
            if word.startswith('@'):
                if not Path(word[1:]).is_file():
                    raise FileNotFoundError(f'stage {self.name}: there is no {word[1:]}, which an earlier stage writes')
                word = Path(word[1:]).read_text().strip()
            words.append(word)
        return [sys.executable, *words] if words[0].endswith('.py') else words

    def makes_path(self, path: str) -> bool:
        """Whether a path is what this stage writes, or in a folder that it writes."""
        return any(Path(made) in (Path(path), *Path(path).parents) for made in self.makes)

    def shell(self) -> str:
        """The command as one would type it."""
        words = [
            f'"$(cat {shlex.quote(word[1:])})"' if word.startswith('@') else shlex.quote(word) for word in self.words
        ]
        python = ['python'] if self.words[0].endswith('.py') else []
        return ' '.join([f'{name}={shlex.quote(value)}' for name, value in self.env.items()] + python + words)


def read_stages(config: Mapping[str, Any]) -> list[Stage]:
    """Stages of a pipeline's config.

    ``config.stages`` is a list of dicts with the keys of :class:`Stage`; ``run`` is a command line. ``{name}`` in any
    text is the top-level variable of that name; a word or path that is one such name and nothing else becomes as many
    as the variable has if that is a list. ``for_each='variable'`` repeats a stage for each item of a dict, as ``{key}``
    and ``{value}``.

    Raises:
        ValueError: If a stage lacks its name or command, has a key that means nothing, or a name that is taken; or if
            there is no such variable.
    """
    variables = {name: value for name, value in config.items() if isinstance(value, str | int | float | list | dict)}
    stages: list[Stage] = []
    for number, described in enumerate(config.get('stages') or (), start=1):
        wrong = set(described) - _STAGE_KEYS
        if wrong or not {'name', 'run'} <= set(described):
            raise ValueError(
                f'stages, number {number}: has {", ".join(sorted(described))}; a stage has name and run, and may have '
                f'{", ".join(sorted(_STAGE_KEYS - {"name", "run"}))}'
            )
        items: list[dict[str, Any]] = [{}]
        if 'for_each' in described:
            items = [{'key': key, 'value': value} for key, value in config[described['for_each']].items()]
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
    def fill(text: str) -> str:
        try:
            # Variables may be made of other ones.
            while (filled := text.format_map(variables)) != text:
                text = filled
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f'stage {described["name"]}: {text!r} names a variable that is not there ({error})'
            ) from error
        return text

    def fill_all(texts: Sequence[str]) -> tuple[str, ...]:
        filled: list[str] = []
        for text in texts:
            whole = variables.get(text[1:-1]) if text.startswith('{') and text.endswith('}') else None
            filled += [fill(str(part)) for part in whole] if isinstance(whole, list) else [fill(text)]
        return tuple(filled)

    return Stage(
        name=fill(described['name']),
        words=fill_all(shlex.split(described['run'])),
        env={name: fill(str(value)) for name, value in described.get('env', {}).items()},
        needs=fill_all(described.get('needs', ())),
        makes=fill_all(described.get('makes', ())),
        figures=fill(described.get('figures', '')),
        title=fill(described.get('title', '')),
    )


class Pipeline:
    """Stages, run one after the other, each recorded in ``<work_dir>/stages`` when it is done.

    A stage that is done is not run again; one that was stopped is, and its command goes on where it was. A stage that
    was done or begun with another command, other configs or other results of earlier stages is never gone on with: that
    is an error until ``redo`` moves its old results aside.

    Args:
        stages: The stages, in order.
        work_dir: Where the records are; the results' places are in the stages.
        say: Where messages go.
    """

    def __init__(
        self, stages: Sequence[Stage], work_dir: str | os.PathLike[str], say: Callable[[str], None] = print
    ) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir)
        self.say = say
        self._fingerprints: dict[str, dict[str, str]] = {}
        for index, stage in enumerate(self.stages):
            self._fingerprints[stage.name] = self._fingerprint(stage, self.stages[:index])

    def run(self, chosen: Sequence[str], redo: Sequence[str] = ()) -> None:
        """Run those of the chosen stages that are not done.

        Args:
            chosen: Names of the stages to run.
            redo: Names of stages to begin anew, with all that depend on them.

        Raises:
            FileNotFoundError: If something that a stage needs is not there and no earlier one makes it.
            RuntimeError: If another process is at work in the folder, or a stage fails.
            ValueError: If a stage was begun with other settings.
        """
        with self._locked():
            self._move_aside(self._with_dependents(redo))
            waiting = [stage for stage in self.stages if stage.name in set(chosen) and not self.is_done(stage)]
            self.check(waiting)
            for stage in waiting:
                self._run(stage, f'{self.stages.index(stage) + 1}/{len(self.stages)}')
            self.write_summary()

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was finished with these very settings and its results are there.

        Raises:
            ValueError: If it was finished or begun with other settings.
        """
        record = self.record(stage)
        if record is None:
            return False
        changed = [
            f'  {name}: was {record["made_with"].get(name, "not there")}, now {value}'
            for name, value in self._fingerprints[stage.name].items()
            if record['made_with'].get(name) != value
        ]
        if changed or set(record['made_with']) - set(self._fingerprints[stage.name]):
            raise ValueError(
                f'stage {stage.name} was begun with other settings:\n' + '\n'.join(changed) + f'\n--redo {stage.name} '
                'moves its results aside and begins anew, and so does every stage that depends on it; or name another '
                'folder (--work-dir)'
            )
        return bool(record['done']) and all(Path(made).exists() for made in stage.makes)

    def record(self, stage: Stage) -> dict[str, Any] | None:
        """What is written down about a stage; None if it was never begun."""
        path = self._record_path(stage)
        return json.loads(path.read_text()) if path.is_file() else None

    def check(self, waiting: Sequence[Stage]) -> None:
        """Make sure that all inputs are there, before the first stage begins.

        Raises:
            FileNotFoundError: If something is missing; the message names everything that is.
        """
        missing = []
        for stage in waiting:
            for need in stage.needs:
                maker = next((each for each in self.stages if each.makes_path(need)), None)
                if maker is None and not Path(need).exists():
                    missing.append(f'  {need}, which {stage.name} reads')
                elif maker is not None and maker not in waiting and not self.is_done(maker):
                    missing.append(f'  {need}, which {stage.name} reads: run the stage {maker.name} first')
        if missing:
            raise FileNotFoundError('not there:\n' + '\n'.join(dict.fromkeys(missing)))

    def summary(self) -> dict[str, Any]:
        """Command, seconds and figures of every stage that is done."""
        found = {}
        for stage in self.stages:
            record = self.record(stage)
            if record is not None and record['done']:
                found[stage.name] = {name: record[name] for name in ('title', 'command', 'seconds', 'figures')}
        return found

    def write_summary(self) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        with atomic_write(self.work_dir / 'summary.json') as temporary:
            temporary.write_text(json.dumps(self.summary(), indent=2) + '\n')
        with atomic_write(self.work_dir / 'summary.md') as temporary:
            temporary.write_text(self.table() + '\n')

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

    def _run(self, stage: Stage, position: str) -> None:
        begun = self.record(stage)
        spent = begun['seconds'] if begun is not None else 0.0
        self._write_record(stage, done=False, seconds=spent, figures={})
        self.say(f'\n[{position}] {stage.name}\n$ {stage.shell()}')
        before = time.time()
        start = time.perf_counter()
        try:
            code = _run_child(stage.command(), {**os.environ, **stage.env})
        finally:
            spent += time.perf_counter() - start
            self._write_record(stage, done=False, seconds=spent, figures={})
        if code in _STOPPED:
            raise RuntimeError(f'stage {stage.name} was stopped; the same command goes on from here')
        if code != 0:
            raise RuntimeError(
                f'stage {stage.name} failed with exit code {code}, see above. When that is mended, the same command '
                'goes on from here'
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
        )
        with atomic_write(self._record_path(stage)) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + '\n')

    def _record_path(self, stage: Stage) -> Path:
        return self.work_dir / 'stages' / f'{stage.name}.json'

    def _fingerprint(self, stage: Stage, earlier: Sequence[Stage]) -> dict[str, str]:
        """What decides the results of a stage: its command, its environment, its configs, and earlier stages."""
        found = {'command': shlex.join(stage.words)}
        found.update({f'environment variable {name}': value for name, value in stage.env.items()})
        for word in stage.words[1:]:
            if word.endswith('.py') and Path(word).is_file():
                found[f'config {word}'] = _digest(_config_text(word, stage.env))
        for other in earlier:
            if stage.depends_on(other):
                found[f'stage {other.name}'] = _digest(json.dumps(self._fingerprints[other.name], sort_keys=True))
        return found

    def _with_dependents(self, names: Sequence[str]) -> list[Stage]:
        redone: list[Stage] = []
        for stage in self.stages:
            if stage.name in names or any(stage.depends_on(other) for other in redone):
                redone.append(stage)
        return redone

    def _move_aside(self, stages: Sequence[Stage]) -> None:
        """Rename a stage's results to ``<name>.old``, ``<name>.old2`` and so on, and forget that it was begun."""
        for stage in stages:
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

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        with open(self.work_dir / 'lock', 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(f'{self.work_dir}: another run is at work there; wait for it or stop it') from None
            yield


def _run_child(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command to its end. It ends when this process is killed; SIGTERM and Ctrl-C reach it first."""
    child = subprocess.Popen(command, env=dict(env), preexec_fn=_die_with_parent if sys.platform == 'linux' else None)

    def forward(number: int, _: Any) -> None:
        child.send_signal(number)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        while True:
            try:
                code = child.wait()
                break
            except KeyboardInterrupt:
                pass  # the terminal has sent it to the child as well, which ends in its own way
    finally:
        signal.signal(signal.SIGTERM, before)
    return code


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _figures(stage: Stage, since: float) -> dict[str, float]:
    """Numbers of the newest figures file that the stage has written."""
    if not stage.figures:
        return {}
    path = Path(stage.figures)
    paths = list(Path(path.anchor or '.').glob(str(path.relative_to(path.anchor) if path.anchor else path)))
    newest = max(paths, key=lambda each: each.stat().st_mtime, default=None)
    if newest is None or newest.stat().st_mtime < since - 2:  # file systems may count in steps of two seconds
        raise RuntimeError(f'stage {stage.name} ended well, but wrote no figures ({stage.figures})')
    return {name: value for name, value in json.loads(newest.read_text()).items() if isinstance(value, int | float)}


def _config_text(path: str, env: Mapping[str, str]) -> str:
    """A config with all that it inherits, as its stage will see it."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        return str(Config.fromfile(path, import_custom_modules=False).pretty_text)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
