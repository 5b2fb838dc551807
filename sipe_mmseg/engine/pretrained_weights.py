"""Which files of weights a config begins with, and whether they are there."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models, get_torchvision_models

from .config_variables import config_variables


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights that a config names.

    Attributes:
        location: As the config names them: a path, or an address such as ``torchvision://resnet50``.
        file: Where they are, or will be after the download.
        variable: Environment variable that names a file in their place, if the config reads one.
    """

    location: str
    file: Path
    variable: str | None

    @property
    def is_download(self) -> bool:
        """Whether they come from an address."""
        return '://' in self.location


def find_pretrained_weights(config: Any) -> list[PretrainedWeights]:
    """Weights that ``model`` and ``load_from`` of a config name, each once.

    Args:
        config: A :class:`mmengine.config.Config`.
    """
    locations = [*_named(config.get('model')), *filter(None, [config.get('load_from')])]
    variables = {variable.value: variable.name for variable in config_variables(config)}
    return [
        PretrainedWeights(location, _file_of(location), variables.get(location))
        for location in dict.fromkeys(locations)
    ]


def _named(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get('pretrained'), str):
            yield part['pretrained']
        if part.get('type') == 'Pretrained' and isinstance(part.get('checkpoint'), str):
            yield part['checkpoint']
        part = list(part.values())
    if isinstance(part, list | tuple):
        for item in part:
            yield from _named(item)


def _file_of(location: str) -> Path:
    """The file itself, or the one in torch's cache that MMEngine downloads it to."""
    kind, is_address, name = location.partition('://')
    if not is_address:
        return Path(os.path.expanduser(location))
    tables = {
        'torchvision': get_torchvision_models,
        'modelzoo': get_torchvision_models,
        'open-mmlab': get_external_models,
        'mmcls': get_mmcls_models,
    }
    address = tables[kind]().get(name, name) if kind in tables else name
    return Path(torch.hub.get_dir(), 'checkpoints', address.rpartition('/')[2])
