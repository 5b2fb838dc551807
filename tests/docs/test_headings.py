"""Every section of the documentation says something."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / 'README.md', *sorted((REPOSITORY / 'docs').glob('*.md'))]
FENCE = re.compile(r'^(```+).*?^\1$', re.MULTILINE | re.DOTALL)
HEADING = re.compile(r'^(#+) .*$', re.MULTILINE)


def empty_sections(page: str) -> list[str]:
    """Headings with nothing below them before the next one of their level or a higher one, or before the end."""
    text = FENCE.sub('a block', page)
    found = list(HEADING.finditer(text))
    ends = [each.start() for each in found[1:]] + [len(text)]
    levels = [len(each[1]) for each in found[1:]] + [0]
    return [
        heading[0]
        for heading, end, level in zip(found, ends, levels, strict=True)
        if level <= len(heading[1]) and not text[heading.end() : end].strip()
    ]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_no_section_is_empty(page: Path) -> None:
    assert empty_sections(page.read_text()) == []


def test_empty_sections_are_found() -> None:
    assert empty_sections('# A\n\n## B\n\n### C\ntext\n## D\n```shell\n# no heading\n```\n## E\ntext\n') == []
    assert empty_sections('# A\n\n## B\n\n## C\ntext\n### D\n\n## E\n\n# F\n') == ['## B', '### D', '## E', '# F']
