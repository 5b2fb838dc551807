"""How much there is of what in a data set that is built."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .image_files import check_samples
from .image_level_dataset import ImageLevelDataset


@dataclass(frozen=True)
class DatasetSummary:
    """Numbers of a data set.

    Attributes:
        images: Its images.
        classes: Names of its classes.
        images_of_class: How many images each foreground class is in; empty if there are no image-level labels.
        unlabelled: Images without image-level labels, if other images have any.
        masks: Images whose mask (or label map) is there.
        problems: One line for each image or mask that cannot be used.
    """

    images: int
    classes: tuple[str, ...]
    images_of_class: dict[str, int]
    unlabelled: int
    masks: int
    problems: list[str]

    @property
    def absent(self) -> list[str]:
        """Foreground classes that no image has."""
        return [name for name, number in self.images_of_class.items() if not number]


def summarize_dataset(dataset: Any) -> DatasetSummary:
    """Count what is in a data set of mmseg.

    Ours have checked their files when they were built; those of any other kind are checked here.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    classes = tuple(dataset.metainfo.get('classes') or ())
    labels = [info['image_labels'] for info in infos if 'image_labels' in info]
    present = Counter(int(index) for indices in labels for index in indices)
    masks = [info.get('seg_map_path') for info in infos]
    checked = isinstance(dataset, ImageLevelDataset) and dataset.check_files
    return DatasetSummary(
        images=len(infos),
        classes=classes,
        images_of_class={name: present[index] for index, name in enumerate(classes[1:])} if labels else {},
        unlabelled=len(infos) - sum(len(indices) > 0 for indices in labels) if labels else 0,
        masks=sum(mask is not None and os.path.isfile(mask) for mask in masks),
        problems=[] if checked else check_samples([(info['img_path'], info.get('seg_map_path')) for info in infos]),
    )
