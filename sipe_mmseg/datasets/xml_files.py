"""XML files of others: no entities, nothing from elsewhere, and what is wrong with one is an error that names it."""

from collections.abc import Callable
from typing import IO, Any
from xml.parsers import expat

from .messages import short

_SMALL = 1 << 14  # bytes that most files are smaller than
_BLOCK = 1 << 20  # of a larger one: expat before 2.6 reads a long attribute again for each block


def parse_xml(
    path: str,
    file: IO[bytes],
    *,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None = None,
) -> None:
    """Reads an XML document piece by piece.

    A document type declaration, which alone can declare entities or name other files, is refused before anything of it
    is read.

    Args:
        path: Name of the file, for errors.
        file: The document.
        start: Called with name and attributes of an element; its errors come through.
        end: Called with the name of an element that is complete.
        text: Called with text, in pieces.

    Raises:
        ValueError: If the document is not well-formed or has a document type declaration.
    """

    def refuse(*declaration: Any) -> None:
        raise ValueError(
            f'{path}: has a document type declaration, which annotations have no need of; it is not read. Remove it'
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        size = _SMALL
        while block := file.read(size):
            parser.Parse(block)
            size = _BLOCK if len(block) == size else _SMALL
        parser.Parse(b'', True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f'{path}: not well-formed XML ({short(str(error))})') from error
    except ValueError as error:
        if str(error).startswith(path):
            raise
        raise ValueError(f'{path}: not XML in an encoding that can be read ({error}); save it in UTF-8') from error
