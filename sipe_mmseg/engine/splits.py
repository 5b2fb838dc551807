"""The data set of a config, for a split of it that is named on a command line."""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

# Transforms that load masks whether or not the data set has any.
_MASK_LOADERS = ('LoadAnnotations',)


def split_config(config: Config, split: str | None) -> ConfigDict:
    """Config of the data set of ``test_dataloader``, for another split.

    Args:
        config: May have ``splits``: what of the data set's options is different in which split.
        split: A name in ``splits``; else a list for the data set's ``ann_file``, such as a path below ``data_root`` or
            one of VOC's ``train``, ``val`` and ``trainaug``. None leaves the data set as it is.

    Raises:
        ValueError: If the config has no ``test_dataloader``.
    """
    if not config.get('test_dataloader'):
        raise ValueError(f'{config.filename}: has no test_dataloader, whose data set is the one to use')
    dataset = copy.deepcopy(config.test_dataloader.dataset)
    if split is not None:
        for name, option in config.get('splits', {}).get(split, dict(ann_file=split)).items():
            dataset[name] = copy.deepcopy(option)  # not update(), which would keep parts of the old option
    return dataset


def build_dataset(dataset: ConfigDict, splits: Sequence[str] = ()) -> BaseSegDataset:
    """Build a data set; where its list is not there, the error says which splits the config names.

    Raises:
        FileNotFoundError: If the list or other files do not exist.
    """
    try:
        return DATASETS.build(dataset)
    except (FileNotFoundError, AssertionError) as error:  # mmseg's own data sets assert that their files exist
        known = f'. Splits that the config names: {", ".join(splits)}' if splits else ''
        raise FileNotFoundError(f'{error or dataset.get("ann_file", "")}{known}') from error


def without_masks(dataset: ConfigDict) -> ConfigDict:
    """The same data set without masks: for images that have none."""
    dataset = copy.deepcopy(dataset)
    dataset.get('data_prefix', {}).pop('seg_map_path', None)
    if dataset.get('pipeline'):
        dataset.pipeline = _without_mask_loaders(dataset.pipeline)
    return dataset


def _without_mask_loaders(pipeline: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for step in pipeline:
        if isinstance(step, list | tuple):  # the alternatives of one step of TestTimeAug
            alternatives = _without_mask_loaders(step)
            kept += [alternatives] if alternatives else []
        elif step['type'] not in _MASK_LOADERS:
            transforms = {'transforms': _without_mask_loaders(step['transforms'])} if 'transforms' in step else {}
            kept.append({**step, **transforms})
    return kept
