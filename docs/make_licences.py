"""Writes docs/licences.md: the licence of every package that sipe-mmseg brings along, from what the packages say.

    python docs/make_licences.py > docs/licences.md

It lists the environment that it runs in, in which the package is installed with its extras.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

EXTRAS = ('lite', 'crf', 'gradcam', 'tensorboard')
DEVELOPMENT = ('dev',)

INTRODUCTION = """\
sipe-mmseg is under the MIT licence and contains no code of others. `pip install` brings the packages below, on
Linux with a torch for CUDA. `docs/make_licences.py` writes this page from what the packages say of themselves.
"""

# What packages write, in the words of SPDX. A text that is missing here is unknown, and to be read by a person.
NAMES = {
    '3-Clause BSD License': 'BSD-3-Clause',
    'Apache 2.0': 'Apache-2.0',
    'Apache Software License': 'Apache-2.0',
    'BSD License': 'BSD-3-Clause',
    'BSD': 'BSD-3-Clause',
    'FreeBSD': 'BSD-2-Clause',
    'MIT License': 'MIT',
    'Mozilla Public License 2.0 (MPL 2.0)': 'MPL-2.0',
    'NVIDIA Proprietary Software': 'LicenseRef-NVIDIA-Proprietary',
    'Python Software Foundation License': 'PSF-2.0',
}
# Packages that say nothing: CUDA's list of its parts, which has no files of its own.
SILENT = {'cuda-toolkit': 'LicenseRef-NVIDIA-Proprietary'}

# Licences that a project under MIT may depend on, with what they ask for.
COMPATIBLE = {
    '0BSD': 'nothing',
    'Apache-2.0': 'notice',
    'Apache-2.0 WITH LLVM-exception': 'notice',
    'BSD-2-Clause': 'notice',
    'BSD-3-Clause': 'notice',
    'BSL-1.0': 'notice, with sources alone',
    'CC0-1.0': 'nothing',
    'CNRI-Python': 'notice',
    'ISC': 'notice',
    'MIT': 'notice',
    'MIT-CMU': 'notice',
    'MPL-2.0': 'changes to its own files are published',
    'PSF-2.0': 'notice',
    'Zlib': 'notice, with sources alone',
    'LicenseRef-NVIDIA-Proprietary': "NVIDIA's terms: use and redistribution with a program, as torch does",
}


def normal_name(name: str) -> str:
    return re.sub('[-_.]+', '-', name).lower()


def needed(name: str = 'sipe-mmseg', extras: tuple[str, ...] = EXTRAS) -> dict[str, bool]:
    """All packages that a package needs and that are installed, and whether it names them itself."""
    found: dict[str, bool] = {}
    for each, parts in _requirements(distribution(name), extras):
        found[each] = True
        _add_needed(each, parts, found)
    return dict(sorted(found.items()))


def _add_needed(name: str, extras: tuple[str, ...], found: dict[str, bool]) -> None:
    for each, parts in _requirements(distribution(name), extras):
        if each not in found:
            found[each] = False
            _add_needed(each, parts, found)


def _requirements(package: Distribution, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in package.requires or ():
        requirement = Requirement(text)
        name = normal_name(requirement.name)
        if requirement.marker and not any(requirement.marker.evaluate({'extra': extra}) for extra in ('', *extras)):
            continue
        try:
            distribution(name)
        except PackageNotFoundError:
            continue  # the fork's packages have other names; opencv-python-headless has opencv-python in its place
        yield name, tuple(requirement.extras)


def licence(name: str) -> str:
    """Licence of an installed package, as an expression of SPDX.

    Raises:
        ValueError: The package does not say, or says something unknown.
    """
    metadata = distribution(name).metadata
    classifiers = [each.split(' :: ')[-1] for each in metadata.get_all('Classifier') or () if 'License ::' in each]
    said = [metadata.get('License-Expression'), *classifiers, metadata.get('License'), SILENT.get(name)]
    for text in filter(None, said):
        expression = NAMES.get(text.strip(), text.strip())
        if all(part in COMPATIBLE for part in licences_of(expression)):
            return expression
    raise ValueError(f'{name}: no licence that is known to be compatible: {[text for text in said if text]}')


def licences_of(expression: str) -> list[str]:
    """The single licences of an expression."""
    return re.split(r' (?:AND|OR) ', expression.replace('(', '').replace(')', ''))


def for_development() -> dict[str, bool]:
    """As :func:`needed`: what the tests, style and types need besides."""
    users = needed()
    return {name: is_direct for name, is_direct in needed(extras=DEVELOPMENT).items() if name not in users}


def print_packages(packages: dict[str, bool]) -> None:
    print('\n| package | named by sipe-mmseg itself | licence |\n|---|---|---|')
    for name, is_direct in packages.items():
        print(f'| {name} | {"yes" if is_direct else ""} | {licence(name)} |')


def main() -> None:
    users = needed()
    expressions = [licence(name) for name in users]
    print('# Licences of what comes along\n')
    print(INTRODUCTION)
    print('| licence | asks for | packages |\n|---|---|---|')
    for part in sorted({part for expression in expressions for part in licences_of(expression)}):
        print(f'| {part} | {COMPATIBLE[part]} | {sum(part in licences_of(each) for each in expressions)} |')
    print_packages(users)
    print('\nWhoever changes the code and runs its tests needs these besides (`[dev]`):')
    print_packages(for_development())


if __name__ == '__main__':
    main()
