"""What a check has found: a line each, and what mends it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        text: What was looked at, and what it is like.
        state: ``ok``; ``note`` for what one may want to know; ``problem`` for what stops the work.
        mend: What to do about it; may have several lines.
    """

    text: str
    state: Literal['ok', 'note', 'problem'] = 'ok'
    mend: str = ''

    def __str__(self) -> str:
        lines = [f'{self.state:<8} {self.text}', *self.mend.splitlines()]
        return '\n'.join([lines[0], *(f'         {line}' for line in lines[1:])])
