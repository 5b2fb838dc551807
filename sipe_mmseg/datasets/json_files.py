"""JSON files of others: what is wrong with one is an error that names it."""

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from .messages import shown

Pairs = list[tuple[str, Any]]


def unique_keys(pairs: Pairs) -> dict[str, Any]:
    """A JSON object as a dict.

    Raises:
        ValueError: If a key is there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f'the key {shown(Counter(key for key, _ in pairs).most_common(1)[0][0])} is there twice')
    return found


def load_json(path: str | os.PathLike[str], each_object: Callable[[Pairs], Any] = unique_keys) -> Any:
    """Reads a JSON file.

    Args:
        path: The file, in UTF-8.
        each_object: Makes what stands for an object of its keys and values; dicts by default.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON in UTF-8.
    """
    require_file(path)
    with open(path, 'rb') as file:
        return parse_json(file.read(), os.fspath(path), each_object)


def parse_json(content: bytes, where: str, each_object: Callable[[Pairs], Any] = unique_keys) -> Any:
    """As :func:`load_json`, of the bytes of a file.

    Args:
        content: The bytes.
        where: File, and line if there are several documents in it, for the error.
        each_object: As there.
    """
    try:
        return json.loads(content.decode('utf-8-sig'), object_pairs_hook=each_object)
    except ValueError as error:
        raise ValueError(f'{where}: not JSON in UTF-8 ({error})') from error
    except RecursionError as error:
        raise ValueError(f'{where}: not JSON that can be read (its lists and objects are nested too deeply)') from error


def is_deep(value: Any, levels: int = 50) -> bool:
    """Whether lists and objects are nested deeper than ``levels``: too deep for functions that call themselves."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return True


def require_file(path: str | os.PathLike[str]) -> None:
    """Makes sure that there is a file; a pipe or a device, which might never end, is none.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file')
