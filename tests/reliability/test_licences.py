"""Licences of the packages that come along: each is known, fits a project under MIT, and is on the page."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'docs' / 'make_licences.py'))


def rows() -> dict[str, str]:
    page = (ROOT / 'docs' / 'licences.md').read_text()
    return dict(re.findall(r'^\| ([\w.-]+) \| (?:yes)? \| (.+) \|$', page, re.MULTILINE))


def test_each_package_has_a_licence_that_fits() -> None:
    assert {'torch', 'numpy'} <= TOOL['needed']().keys()
    assert 'pytest' in TOOL['for_development']()
    for name in TOOL['needed']() | TOOL['for_development']():
        TOOL['licence'](name)  # raises where it is unknown


def test_the_page_says_what_the_packages_say() -> None:
    page, installed = rows(), TOOL['needed']() | TOOL['for_development']()
    assert len(page) > 50
    for name, is_direct in installed.items():
        assert name in page or not is_direct, f'{name} is missing: python docs/make_licences.py > docs/licences.md'
        if name in page:
            assert set(TOOL['licences_of'](page[name])) <= TOOL['COMPATIBLE'].keys()


def test_an_unknown_licence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TOOL['COMPATIBLE'], 'PSF-2.0')
    with pytest.raises(ValueError, match='matplotlib: no licence that is known to be compatible'):
        TOOL['licence']('matplotlib')
