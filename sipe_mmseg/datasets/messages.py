"""What stands in messages about bad files: whatever was found there, in a few words."""

import difflib
import errno
import reprlib
from collections.abc import Iterable
from typing import Any

_LENGTH = 60
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LENGTH
_repr.maxlist = _repr.maxdict = _repr.maxtuple = 5
_repr.maxlevel = 3


def shown(value: Any) -> str:
    """A value as Python writes it, shortened; takes no longer for a large or deeply nested one."""
    text = _repr.repr(value)
    return text if len(text) <= 2 * _LENGTH else f'{text[: 2 * _LENGTH - 3]}...'


def short(text: str) -> str:
    """A text, cut off where it is long."""
    return text if len(text) <= 2 * _LENGTH else f'{text[: 2 * _LENGTH - 3]}...'


def is_of_machine(error: BaseException) -> bool:
    """Whether an error tells of memory, a disk or permissions, and nothing of what is in the file that was read.

    Broken bytes raise errors of every kind, ``OSError`` too: without a number, or that of an offset that cannot be.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL))


def unreadable(error: Exception, what: str) -> str:
    """What to say of a file, ``what`` it should be, that raised an error when it was read.

    Raises:
        MemoryError: If that is the error.
    """
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, OSError) and is_of_machine(error):
        return f'cannot be read ({error.strerror})'
    return f'not a readable {what} ({short(str(error))})'


def counted(number: int, one: str, several: str) -> str:
    """A number with what it counts: ``one`` after 1, ``several`` after any other."""
    return f'{number} {one if number == 1 else several}'


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``name``, if any is; upper and lower case are the same."""
    by_lower_case = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name[:_LENGTH].lower(), by_lower_case, n=1)
    return by_lower_case[close[0]] if close else None
