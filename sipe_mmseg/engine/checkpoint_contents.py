"""What a checkpoint may hold, tried before days of training depend on it."""

import io
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

from ..compat import load_allowed

_PLAIN = (str, int, float, bool, type(None), torch.Tensor, torch.nn.Parameter)
_SHOWN = 5


class UnreadableError(ValueError):
    """A training would write checkpoints that cannot be loaded."""


def check_readable(content: Any) -> None:
    """Write and read the parts of a checkpoint that are neither tensors nor plain values, in memory.

    Raises:
        UnreadableError: If one would be refused when the checkpoint is loaded; the message names key and type.
    """
    parts = list(_parts(content, '', set()))
    if not parts or _is_readable([value for _, value in parts]):
        return
    refused = [
        f'{key}: {type(value).__module__}.{type(value).__qualname__}' for key, value in parts if not _is_readable(value)
    ]
    if not refused:
        return
    raise UnreadableError(
        'the checkpoints of this training could be written, and not be loaded again, as they would hold what may run '
        'code. By its place and type:\n  '
        + '\n  '.join(refused[:_SHOWN])
        + (f'\n  and {len(refused) - _SHOWN} more' if len(refused) > _SHOWN else '')
        + '\nUse text, numbers, None, lists, tuples, dictionaries, tensors or arrays of numbers or text instead, as '
        'str(path) for a path. meta.dataset_meta is the metainfo of the training set, message_hub what hooks note'
    )


def _parts(value: Any, key: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Places and values of all that needs a look, in containers within containers."""
    if type(value) in _PLAIN or id(value) in seen:
        return
    if type(value) in (dict, OrderedDict):
        seen.add(id(value))
        for name, item in value.items():
            place = f'{key}.{name}' if key else str(name)
            if type(name) not in _PLAIN:
                yield f'{place}, the key', name
            yield from _parts(item, place, seen)
    elif type(value) in (list, tuple):
        seen.add(id(value))
        for number, item in enumerate(value):
            yield from _parts(item, f'{key}[{number}]', seen)
    else:
        yield key, value


def _is_readable(value: Any) -> bool:
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        load_allowed(buffer)
    except Exception:  # pickling and loading raise errors of every kind
        return False
    return True
