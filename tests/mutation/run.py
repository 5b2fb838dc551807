"""Change the mathematics in one place at a time, and see whether the tests notice.

    python tests/mutation/run.py [MODULE ...] [--fresh]

Every mutant of every module of ``MODULES`` (or of those named, as ``models/prototypes.py``) is tested in a process of
its own, forked when torch and mmseg are imported, with the module's tests and nothing else. A mutant is killed when a
test fails; one that takes too long, as an endless loop does or any on a busy machine, is counted apart and printed.
Survivors are printed; those that compute the same and are listed in ``equivalent.json``, each with its reason, are
counted apart, too. Ends with 1 if there is any other.

What was killed is remembered in ``work_dirs/mutation.json`` and not tried again as long as the module is the same; with
``--fresh`` it is. Needs cosmic-ray, whose operators change the code, beside three of our own.
"""

import argparse
import ast
import contextlib
import gc
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from itertools import chain
from pathlib import Path
from types import CodeType
from typing import Any, Literal, NamedTuple

import hypothesis
import mmengine.registry
import pytest
import torch
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

REPOSITORY = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name('equivalent.json')
RESULTS = REPOSITORY / 'work_dirs/mutation.json'
TIMEOUT = 300
"""Seconds after which a mutant has timed out; the tests of a module need a tenth of it."""
MEMORY = 24 << 30
"""Address space of a mutant in bytes."""

PROTOTYPES = ['tests/models/test_prototypes.py', 'tests/models/test_prototypes_properties.py']
PAIRS = ['tests/refinement/test_pixel_pairs.py']
WALK = ['tests/refinement/test_random_walk.py', 'tests/refinement/test_properties.py::TestRandomWalk']
CRF = [
    'tests/refinement/test_crf.py',
    'tests/refinement/test_properties.py::TestDenseCRF',
    'tests/refinement/test_properties.py::TestIRLabels',
]
AFFINITY, DISPLACEMENT, GRADIENTS = (
    f'tests/models/test_{name}.py' for name in ('affinity_loss', 'displacement_loss', 'loss_gradients')
)
MODULES = {
    'models/prototypes.py': PROTOTYPES,
    'models/multi_scale_fusion.py': PROTOTYPES,
    'models/gsc_loss.py': ['tests/models/test_gsc_loss.py'],
    'models/classification_loss.py': [GRADIENTS],
    'models/affinity_loss.py': [AFFINITY, GRADIENTS],
    'models/displacement_loss.py': [DISPLACEMENT, GRADIENTS],
    'models/training_pairs.py': [AFFINITY, DISPLACEMENT],
    'refinement/pixel_pairs.py': [*PAIRS, 'tests/refinement/test_properties.py::TestPixelPairs'],
    'refinement/random_walk.py': WALK,
    'refinement/foreground.py': [
        'tests/refinement/test_foreground.py',
        'tests/refinement/test_properties.py::TestHeldBackByBackground',
    ],
    'refinement/crf.py': CRF,
}
"""Modules of the package, and the tests that are to tell their mutants."""

PYTEST = ['-x', '-q', '--tb=no', '--assert=plain', '-p', 'no:cacheprovider', '-m', 'not slow']

BINARY = {
    'Add': ['Sub', 'Mul'],
    'Sub': ['Add', 'Mul'],
    'Mul': ['Add', 'Div'],
    'Div': ['Mul', 'Sub'],
    'FloorDiv': ['Mul', 'Div'],
    'Mod': ['Mul', 'Add'],
    'Pow': ['Mul', 'Add'],
    'BitAnd': ['BitOr'],
}
COMPARISON = {
    'Lt': ['LtE', 'GtE'],
    'LtE': ['Lt', 'Gt'],
    'Gt': ['GtE', 'LtE'],
    'GtE': ['Gt', 'Lt'],
    'Eq': ['NotEq'],
    'NotEq': ['Eq'],
    'Is': ['IsNot'],
    'IsNot': ['Is'],
}
OPERATORS = [
    *(f'ReplaceBinaryOperator_{old}_{new}' for old, several in BINARY.items() for new in several),
    *(f'ReplaceComparisonOperator_{old}_{new}' for old, several in COMPARISON.items() for new in several),
    'ReplaceUnaryOperator_USub_UAdd',
    'ReplaceUnaryOperator_Delete_Invert',
    'ReplaceUnaryOperator_Delete_Not',
    'AddNot',
    'ReplaceTrueWithFalse',
    'ReplaceFalseWithTrue',
    'ReplaceAndWithOr',
    'ReplaceOrWithAnd',
    'ReplaceBreakWithContinue',
    'ReplaceContinueWithBreak',
    'NumberReplacer',
    'RemoveDecorator',
    'ZeroIterationForLoop',
]
"""Those of cosmic-ray that are used: one or two other operators for each, not all eleven."""


Outcome = Literal['killed', 'timed out', 'survived']


class Mutant(NamedTuple):
    operator: str
    line: int
    old: str
    new: str
    source: str


class Edit(NamedTuple):
    """Replace the source of a node, from offset ``start`` to ``stop``."""

    operator: str
    start: int
    stop: int
    text: str


# Making mutants -------------------------------------------------------------------------------------------------------


def mutants(source: str) -> Iterator[Mutant]:
    """All different mutants of a module that Python can compile."""
    seen = {ast.dump(ast.parse(source))}
    for operator, mutated in chain(_of_cosmic_ray(source), _of_our_own(source)):
        try:
            with quiet():
                tree = ast.dump(ast.parse(mutated))
        except SyntaxError:
            continue
        if tree in seen:
            continue
        seen.add(tree)
        before, after = source.splitlines(), mutated.splitlines()
        first = next(i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
        last = next(i for i, (old, new) in enumerate(zip(before[::-1], after[::-1], strict=False)) if old != new)
        old, new = (' '.join(' '.join(lines[first : len(lines) - last]).split()) for lines in (before, after))
        yield Mutant(operator, first + 1, old, new, mutated)


def _of_cosmic_ray(source: str) -> Iterator[tuple[str, str]]:
    for name in OPERATORS:
        operator = get_operator(f'core/{name}')()
        occurrence = 0
        while (mutated := mutate_code(source, operator, occurrence)) is not None:
            yield name, mutated
            occurrence += 1


def _of_our_own(source: str) -> Iterator[tuple[str, str]]:
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    text = source.encode()

    def start(node: Any) -> int:
        return lines[node.lineno - 1] + node.col_offset

    def stop(node: Any) -> int:
        return lines[node.end_lineno - 1] + node.end_col_offset

    edits = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):  # torch.f(x) becomes torch, which is soon found out
                edits.append(Edit('DropMethodCall', stop(node.func.value), stop(node), ''))
            for keyword in node.keywords:
                if keyword.arg is not None:
                    after = stop(keyword) + (text[stop(keyword) : stop(keyword) + 1] == b',')
                    edits.append(Edit('DropKeyword', start(keyword), after, ''))
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            edits.append(Edit('DropStatement', start(node), stop(node), 'pass'))
    for edit in edits:
        yield edit.operator, (text[: edit.start] + edit.text.encode() + text[edit.stop :]).decode()


# Testing them ---------------------------------------------------------------------------------------------------------


class MutatedFile(importlib.machinery.SourceFileLoader):
    """Loads a module from another source than that of its file."""

    def __init__(self, module: str, source: str) -> None:
        name = 'sipe_mmseg.' + module.removesuffix('.py').replace('/', '.')
        super().__init__(name, str(REPOSITORY / 'sipe_mmseg' / module))
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        with quiet():
            return self.source_to_code(self.source, self.path)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Python warns of odd code, as ``is`` with a number."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def forget_the_package() -> None:
    """Import the package, so that what it needs is imported, and undo its own part: mutants import it themselves."""
    sys.path.insert(0, str(REPOSITORY))
    importlib.import_module('sipe_mmseg')
    for module in (mmengine.registry, sys.modules['mmseg.registry']):
        for registry in vars(module).values():
            if isinstance(registry, mmengine.registry.Registry):
                for name, kind in list(registry.module_dict.items()):
                    if kind.__module__.startswith('sipe_mmseg'):
                        del registry.module_dict[name]
    for name in [name for name in sys.modules if name.split('.')[0] == 'sipe_mmseg']:
        del sys.modules[name]
    torch.set_num_threads(1)
    sys.dont_write_bytecode = False
    gc.freeze()  # pytest collects garbage twice, which is half of the time of a mutant that is soon killed


class KillersFirst:
    """Plugin of pytest: runs first what has killed most lately, and tells what has failed.

    Args:
        killers: Ids of tests, the latest first.
        found: File descriptor that the id of a failed test is written to.
    """

    def __init__(self, killers: Sequence[str], found: int) -> None:
        self.rank = {killer: index for index, killer in enumerate(killers)}
        self.found = found

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.rank.get(item.nodeid, len(self.rank)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.found, report.nodeid.encode())


def outcome(module: str, source: str, tests: Sequence[str], killers: list[str]) -> Outcome:
    """What the tests say of this source of the module; the one that fails comes first in ``killers``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 70
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT, TIMEOUT + 10))  # SIGXCPU, and then SIGKILL
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            sys.meta_path.insert(0, MutatedFile(module, source))
            # A failure is enough: hypothesis need not look for the smallest one.
            phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
            hypothesis.settings.register_profile('mutation', phases=phases)
            hypothesis.settings.load_profile('mutation')
            os.chdir(REPOSITORY)
            status = int(pytest.main([*PYTEST, *tests], plugins=[KillersFirst(killers, writing)]))
        finally:
            os._exit(status)
    os.close(writing)
    found = wait(child)
    with open(reading) as pipe:
        killer = pipe.read()
    if killer:
        killers[:] = [killer, *(other for other in killers if other != killer)]
    return found


def wait(child: int) -> Outcome:
    """What the exit status of a process says, which is ended after ``TIMEOUT``; the kernel ends it by SIGXCPU."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 'timed out'
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(found[1])
    if code == -signal.SIGXCPU:
        return 'timed out'
    return 'survived' if code == 0 else 'killed'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('modules', nargs='*', metavar='MODULE', help=f'of {", ".join(MODULES)}; all if none is named')
    parser.add_argument('--fresh', action='store_true', help='try again what was killed in an earlier run')
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(MODULES):
        parser.error(f'{", ".join(sorted(unknown))}: none of {", ".join(MODULES)}')
    equivalent = {(each['module'], each['old'], each['new']) for each in json.loads(EQUIVALENT.read_text())}
    killed = set() if arguments.fresh or not RESULTS.exists() else set(json.loads(RESULTS.read_text()))
    RESULTS.parent.mkdir(exist_ok=True)
    forget_the_package()
    survived = 0
    for module in arguments.modules or MODULES:
        source, tests, begin = (REPOSITORY / 'sipe_mmseg' / module).read_text(), MODULES[module], time.monotonic()
        killers: list[str] = []
        if outcome(module, source, tests, killers) != 'survived':
            print(f'{module}: its tests fail without any mutant: {" ".join(tests)}')
            return 1
        counts: Counter[str] = Counter()
        for mutant in mutants(source):
            digest = hashlib.sha256(f'{module}\n{mutant.source}'.encode()).hexdigest()[:16]
            if digest in killed:
                counts['killed'] += 1
            elif (module, mutant.old, mutant.new) in equivalent:
                counts['equivalent'] += 1
            else:
                found = outcome(module, mutant.source, tests, killers)
                counts[found] += 1
                if found == 'killed':
                    killed.add(digest)
                    RESULTS.write_text(json.dumps(sorted(killed)))
                else:
                    print(
                        f'{module}:{mutant.line} {mutant.operator} {found}\n  - {mutant.old}\n  + {mutant.new}',
                        flush=True,
                    )
        survived += counts['survived']
        figures = ', '.join(f'{counts[kind]} {kind}' for kind in ('killed', 'timed out', 'equivalent', 'survived'))
        print(f'{module}: {counts.total()} mutants: {figures}; {time.monotonic() - begin:.0f} s', flush=True)
    return int(survived > 0)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
