"""An HTML page that needs no other file and no network."""

import base64
import hashlib
import os
from collections.abc import Iterable
from importlib import resources

from ..datasets.atomic_write import atomic_write
from .markup import Markup, element


def write_page(path: str | os.PathLike[str], page: str) -> None:
    """Write a page; it appears complete or not at all. The same page gives the same bytes."""
    with atomic_write(path) as temporary:
        # Names of files that are not UTF-8 come as lone surrogates, which no encoding takes.
        temporary.write_text(page, encoding='utf-8', errors='backslashreplace', newline='\n')


def render_page(title: str, sections: Iterable[Markup | None]) -> str:
    """A page of these sections as text. Nothing but the page's own script can run in it."""
    style, script = _asset('page.css'), _asset('page.js')
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'"
    head = element(
        'head',
        element('meta', charset='utf-8'),
        element('meta', http_equiv='Content-Security-Policy', content=policy),
        element('meta', name='viewport', content='width=device-width, initial-scale=1'),
        element('title', f'{title}: report'),
        element('style', Markup(style)),
    )
    body = element('body', *sections, element('script', Markup(script)))
    return f'<!DOCTYPE html>\n{element("html", head, body, lang="en")}\n'


def figure_list(figures: Iterable[tuple[str, str, str]]) -> Markup:
    """The large figures at the top of a page: name, value and explanation of each."""
    parts = (
        element('div', element('dt', name), element('dd', value, class_='value'), element('dd', what, class_='what'))
        for name, value, what in figures
    )
    return element('dl', *parts, class_='figures')


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding='utf-8')
