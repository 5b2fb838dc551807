"""Errors while a config is built that come of a misspelt key or type in it, told in a sentence."""

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import mmengine.runner
import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader

_UNEXPECTED = re.compile(r"(\w+)(?:\.\w+)?\(\) got an unexpected keyword argument '(\w+)'")  # of Python
_UNKNOWN_TYPE = re.compile(r'(\S+) is not in the \w+::(.+?) registry')  # of MMEngine
_SHOWN = 60  # characters of a value


def config_mistake(error: Exception, config: Config | None = None) -> str | None:
    """What is wrong with which key of a config, where it is a key or a type that there is not.

    Args:
        error: What building something raised.
        config: The config; by default the one that a function on the way to the error has in a variable.

    Returns:
        The key, what it has and the nearest right name; None for any other error.
    """
    config = _config_on_the_way(error.__traceback__) if config is None else config
    text = str(error.args[0]) if error.args else ''
    found = None
    if config is not None and isinstance(error, TypeError) and (match := _UNEXPECTED.match(text)):
        found = _unexpected_key(config, *match.groups())
    elif config is not None and isinstance(error, KeyError) and (match := _UNKNOWN_TYPE.match(text)):
        found = _unknown_type(config, *match.groups())
    return found


def _unexpected_key(config: Config, callee: str, key: str) -> str | None:
    for place, item in _dicts(config):
        kind = _class_of(place, item, callee) if key in item else None
        if kind is None or callee not in _names_of(kind):
            continue
        known = _arguments(kind)
        if key not in known:
            name = f'{place}.{key}'
            return f'{_name(config)}: {name} is {_shown(item[key])}, but {_names_of(kind)[0]} {_no_such(key, known)}'
    return None


def _unknown_type(config: Config, kind: str, registry: str) -> str | None:
    known = sorted({name for each in _registries() if each.name == registry for name in _members(each)})
    for place, item in _dicts(config):
        if item.get('type') == kind:
            close = difflib.get_close_matches(kind, known, n=1)
            hint = f'did you mean {close[0]!r}?' if close else 'a class of your own needs custom_imports'
            if kind in known:
                hint = "it is one of MMSegmentation's or ours, for which a config needs default_scope = 'mmseg'"
            return f'{_name(config)}: {place}.type is {kind!r}, but no {registry} is called so; {hint}'
    return None


def _no_such(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f'has no {key!r}; ' + (f'did you mean {close[0]!r}?' if close else f'it has {", ".join(known)}')


def _config_on_the_way(traceback: TracebackType | None) -> Config | None:
    while traceback is not None:
        for value in traceback.tb_frame.f_locals.values():
            if isinstance(value, Config):
                return value
        traceback = traceback.tb_next
    return None


def _dicts(value: Any, place: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All dicts of a config with their dotted keys, each before those in it."""
    if isinstance(value, Config | Mapping):
        if place:
            yield place, value
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield from _dicts(item, f'{place}.{key}' if place else str(key))


def _class_of(place: str, item: Mapping[str, Any], callee: str) -> Any:
    """The class or function that a dict of a config is for."""
    kind = item.get('type')
    if kind is None:  # which MMEngine knows by the key
        if place.endswith('_dataloader'):
            return DataLoader
        return getattr(mmengine.runner, callee, None) if place in ('train_cfg', 'val_cfg', 'test_cfg') else None
    if not isinstance(kind, str):
        return kind
    return next((found for registry in _registries() if (found := _get(registry, kind)) is not None), None)


def _registries() -> list[Registry]:
    return [each for each in vars(mmseg.registry).values() if isinstance(each, Registry)]


def _members(registry: Registry) -> list[str]:
    """Names in a registry and in the one that it goes on to."""
    return [*registry.module_dict, *(_members(registry.parent) if registry.parent else ())]


def _get(registry: Registry, name: str) -> Any:
    found = registry.module_dict.get(name.rpartition('.')[2])
    return _get(registry.parent, name) if found is None and registry.parent else found


def _names_of(kind: Any) -> list[str]:
    """Names that an error may call a class by: its own and those that it inherits from; or a function's name."""
    return [each.__name__ for each in getattr(kind, '__mro__', (kind,)) if hasattr(each, '__name__')]


def _arguments(kind: Any) -> list[str]:
    """What a class takes, its own arguments first; or a function."""
    found: dict[str, None] = {}
    for each in getattr(kind, '__mro__', (kind,)):
        function = vars(each).get('__init__') if isinstance(each, type) else each
        if function is None or each is object:
            continue
        parameters = list(inspect.signature(function).parameters.values())
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        found |= dict.fromkeys(each.name for each in parameters if each.kind in named)
        if all(each.kind is not each.VAR_KEYWORD for each in parameters):
            break
    return [name for name in found if name != 'self']


def _name(config: Config) -> str:
    return str(config.filename or 'the config')


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 3]}...'
