"""PASCAL VOC 2012 with image-level labels."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, ClassVar

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from .image_level_dataset import ImageLevelDataset

VOC12_LISTS = ('train', 'val', 'trainaug')
_LABELS = {'xml': 'Annotations'}
_DATA_PREFIX = {'img_path': 'JPEGImages'}


@DATASETS.register_module()
class VOC12ImageLevelDataset(ImageLevelDataset):
    """PASCAL VOC 2012 in the layout of its development kit, with the labels of its XML annotations.

    Every object of an annotation counts, ``difficult`` ones too, as in the labels the field trains on.

    Args:
        ann_file: ``'train'`` (1464 images), ``'val'`` (1449) or ``'trainaug'`` (10582: train and the images that SBD
            annotates, without val), which come with this package, or a list of your own, relative to ``data_root``.
        data_root: ``.../VOCdevkit/VOC2012``.
        labels: As in ``ImageLevelDataset``.
        data_prefix: As in ``ImageLevelDataset``; scoring needs ``seg_map_path='SegmentationClass'`` as well.
        img_suffix: How names of images end.
        **kwargs: As in ``ImageLevelDataset``.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(PascalVOCDataset.METAINFO)

    def __init__(
        self,
        ann_file: str = 'trainaug',
        data_root: str | None = None,
        labels: Mapping[str, str | None] | None = _LABELS,
        data_prefix: Mapping[str, str | None] = _DATA_PREFIX,
        img_suffix: str | None = '.jpg',
        **kwargs: Any,
    ) -> None:
        if ann_file in VOC12_LISTS:
            ann_file = str(resources.files('sipe_mmseg.datasets') / 'lists' / f'voc12_{ann_file}.txt')
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            labels=labels,
            data_prefix={**_DATA_PREFIX, **data_prefix},
            img_suffix=img_suffix,
            **kwargs,
        )
