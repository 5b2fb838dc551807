"""Environment variables that a config reads, as ``{{$NAME:default}}``."""

import os
import re
from dataclasses import dataclass

from mmengine.config import Config

_READ = re.compile(r'\{\{[\'"]?\s*\$(\w+)\s*:\s*(\S*?)\s*[\'"]?\}\}')


@dataclass(frozen=True)
class ConfigVariable:
    """One of them: its name, the value that the config sees, and whether that is the config's own default."""

    name: str
    value: str
    is_default: bool


def config_variables(config: Config) -> list[ConfigVariable]:
    """The variables that a config file and those it inherits from read, and whose values are in its settings.

    MMEngine notes those that are set alone (``Config.env_variables``); here are those with defaults, too.
    """
    settings = str(config.to_dict())
    found: dict[str, ConfigVariable] = {}
    for name, default in _READ.findall(config.text):
        value = os.environ.get(name)
        found.setdefault(name, ConfigVariable(name, default if value is None else value, value is None))
    return [variable for variable in found.values() if variable.value in settings]
