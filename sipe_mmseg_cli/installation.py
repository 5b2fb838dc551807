"""A look over the installation. Nothing is imported for it until all that ``sipe_mmseg`` needs is known to be there."""

import importlib.util
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions, requires
from pathlib import Path

from .findings import Finding

MINIMUM = {
    'torch': '2.10',
    'torchvision': '0.25',
    'numpy': '1.26',
    'mmengine': '0.10.7',
    'mmsegmentation': '1.2.2',
    'mmpretrain': '1.2.0',
    'ftfy': '6.1.1',
    'regex': '2022.10.31',
}
"""Oldest versions that will do, as in ``pyproject.toml``."""

_OPENMMLAB = ('mmengine', 'mmsegmentation', 'mmpretrain')
_MMCV = ('mmcv', 'mmcv-lite', 'onedl-mmcv')
_MMCV_MEND = (
    'pip install mmcv-lite==2.1.0                    pure Python; enough for SIPE and most of mmseg\n'
    'pip install --no-build-isolation mmcv==2.1.0    compiled; after pip install "setuptools<82"\n'
    'Never both: they are one package.'
)
_LITTLE_DISK = 2e9  # bytes: a few checkpoints


def installed_versions() -> dict[str, str]:
    """Versions of all installed distributions by name, in small letters and with dashes."""
    names = ((each.metadata['Name'], each.version) for each in distributions())
    return {re.sub('[-_.]+', '-', name).lower(): version for name, version in names if name}


def look_over_packages(versions: Mapping[str, str], python: tuple[int, ...] = sys.version_info[:3]) -> list[Finding]:
    """Everything that can be told without importing a package.

    Args:
        versions: As of :func:`installed_versions`.
        python: Version of Python.
    """
    shown = '.'.join(map(str, python))
    findings = [
        Finding(f'Python {shown}')
        if (3, 10) <= python[:2] <= (3, 13)
        else Finding(f'Python {shown}: 3.10 to 3.13 is needed', 'problem', 'python3.12 -m venv .venv')
    ]
    for name in ('torch', 'torchvision', 'numpy'):
        findings.append(_installed(name, versions))
    findings += _pair(versions)
    findings += [_mmcv(versions), *(_openmmlab(name, versions) for name in _OPENMMLAB)]
    for name in ('ftfy', 'regex'):  # which mmsegmentation imports and does not declare
        findings.append(_installed(name, versions))
    findings.append(_pkg_resources(versions))
    findings.append(
        Finding(f'pydensecrf2 {versions["pydensecrf2"]}')
        if 'pydensecrf2' in versions
        else Finding(
            'pydensecrf2 is not installed: needed by `refine`, pipelines and CRFSegTTAModel alone',
            'note',
            'pip install pydensecrf2==1.1; it compiles, so a C++ compiler has to be there, and Python 3.12 or older',
        )
    )
    return findings


def look_over_import() -> list[Finding]:
    """Whether ``sipe_mmseg`` can be imported; its version, and whether its configs and tools are there."""
    start = time.perf_counter()
    try:
        import sipe_mmseg
        from sipe_mmseg.engine.config_lookup import shipped_configs, shipped_tools
        from sipe_mmseg.processors import num_processors
    except Exception as error:  # whatever another package raises while it is imported
        return [
            Finding(
                f'import sipe_mmseg: {type(error).__name__}: {error}',
                'problem',
                'The package named last in `python -c "import sipe_mmseg"` does not fit the others: install it anew',
            )
        ]
    seconds = time.perf_counter() - start
    findings = [Finding(f'sipe_mmseg {sipe_mmseg.__version__}, imported in {seconds:.1f} s')]
    findings.append(Finding(f'processors that may be used: {num_processors()}'))
    try:
        findings.append(Finding(f'configs in {shipped_configs()}, tools in {shipped_tools()}'))
    except FileNotFoundError as error:
        findings.append(Finding(str(error), 'problem', 'pip install --force-reinstall --no-deps the wheel'))
    return findings


def look_over_machine(folder: Path) -> list[Finding]:
    """Threads, GPUs and the disk space of a folder; the first two need torch."""
    return [*_torch(), _disk(folder)]


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding(f'import torch: {type(error).__name__}: {error}', 'problem', 'pip install torch torchvision')
        return
    setting = os.environ.get('OMP_NUM_THREADS')
    yield Finding(f'threads of torch: {torch.get_num_threads()}' + (f' (OMP_NUM_THREADS={setting})' if setting else ''))
    if not torch.cuda.is_available():
        built = 'torch is built for CUDA, but finds none' if torch.version.cuda else 'torch is built without CUDA'
        yield Finding(f'no GPU: everything runs on the processors ({built})', 'note')
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(f'GPU {index}: {device.name}, {device.total_memory / 1e9:.0f} GB (CUDA {torch.version.cuda})')


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f'{free / 1e9:.1f} GB free in {folder}'
    if not os.access(folder, os.W_OK):
        return Finding(f'{folder} cannot be written', 'note', 'go to another folder, or name one with --work-dir')
    return Finding(text, 'note', 'checkpoints and maps may not find room') if free < _LITTLE_DISK else Finding(text)


def _installed(name: str, versions: Mapping[str, str]) -> Finding:
    if name not in versions:
        return Finding(f'{name} is not installed', 'problem', f'pip install {name}')
    text = f'{name} {versions[name]}'
    if _numbers(versions[name]) < _numbers(MINIMUM[name]):
        return Finding(
            f'{text}: {MINIMUM[name]} or newer is needed', 'problem', f'pip install "{name}>={MINIMUM[name]}"'
        )
    return Finding(text)


def _pair(versions: Mapping[str, str]) -> list[Finding]:
    """Whether torchvision is the one of this torch; it says which torch it wants."""
    if not {'torch', 'torchvision'} <= versions.keys():
        return []
    wanted = [re.fullmatch(r'torch\s*\(?==([\w.]+)\)?', each) for each in requires('torchvision') or ()]
    want = next((match[1] for match in wanted if match), None)
    if want is None or versions['torch'].partition('+')[0] == want.partition('+')[0]:
        return []
    return [
        Finding(
            f'torchvision {versions["torchvision"]} wants torch {want}, not {versions["torch"]}',
            'problem',
            'pip install --upgrade torch torchvision',
        )
    ]


def _openmmlab(name: str, versions: Mapping[str, str]) -> Finding:
    fork = f'onedl-{name}'
    if name in versions and fork in versions:
        return Finding(
            f'{name} {versions[name]} and {fork} {versions[fork]}: both have the same files',
            'problem',
            f'pip uninstall {name} {fork}, then install one of them',
        )
    if fork in versions:
        return Finding(f'{fork} {versions[fork]}')
    return _installed(name, versions)


def _mmcv(versions: Mapping[str, str]) -> Finding:
    found = [name for name in _MMCV if name in versions]
    if not found:
        return Finding('neither mmcv-lite nor mmcv is installed', 'problem', _MMCV_MEND)
    text = ' and '.join(f'{name} {versions[name]}' for name in found)
    if len(found) > 1:
        return Finding(
            f'{text}: they are one package, and overwrite each other',
            'problem',
            f'pip uninstall {" ".join(found)}, then install one of them:\n{_MMCV_MEND}',
        )
    if 'mmsegmentation' in versions and not (2, 0, 0) <= _numbers(versions[found[0]]) < (2, 2, 0):
        return Finding(
            f'{text}: mmsegmentation {versions["mmsegmentation"]} takes 2.0.0 to 2.1.0',
            'problem',
            f'pip install {found[0]}==2.1.0',
        )
    operators = 'with compiled operators' if _has_operators() else 'without compiled operators, which SIPE needs not'
    return Finding(f'{text}, {operators}')


def _has_operators() -> bool:
    """Whether mmcv's compiled part is there. Asking Python for ``mmcv._ext`` would import mmcv."""
    spec = importlib.util.find_spec('mmcv')
    return any(any(Path(place).glob('_ext*')) for place in (spec and spec.submodule_search_locations) or ())


def _pkg_resources(versions: Mapping[str, str]) -> Finding:
    setuptools = f'setuptools {versions["setuptools"]}' if 'setuptools' in versions else 'no setuptools'
    if importlib.util.find_spec('pkg_resources') is not None:
        return Finding(f'{setuptools}, with pkg_resources')
    return Finding(
        f"{setuptools}, without pkg_resources: `_base_ = 'mmseg::...'` and building mmcv need it, nothing of ours does",
        'note',
        'Name a base file by its path, or pip install "setuptools<82"',
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r'\d+', version.partition('+')[0])[:3])
