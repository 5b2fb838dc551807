"""COCO 2014 with image-level labels."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mmseg.registry import DATASETS

from .image_level_dataset import ImageLevelDataset
from .palette import voc_palette

# The 80 categories in the order of their ids in the instances files (1 to 90 with gaps).
COCO14_CLASSES = (
    'background',
    'person',
    'bicycle',
    'car',
    'motorcycle',
    'airplane',
    'bus',
    'train',
    'truck',
    'boat',
    'traffic light',
    'fire hydrant',
    'stop sign',
    'parking meter',
    'bench',
    'bird',
    'cat',
    'dog',
    'horse',
    'sheep',
    'cow',
    'elephant',
    'bear',
    'zebra',
    'giraffe',
    'backpack',
    'umbrella',
    'handbag',
    'tie',
    'suitcase',
    'frisbee',
    'skis',
    'snowboard',
    'sports ball',
    'kite',
    'baseball bat',
    'baseball glove',
    'skateboard',
    'surfboard',
    'tennis racket',
    'bottle',
    'wine glass',
    'cup',
    'fork',
    'knife',
    'spoon',
    'bowl',
    'banana',
    'apple',
    'sandwich',
    'orange',
    'broccoli',
    'carrot',
    'hot dog',
    'pizza',
    'donut',
    'cake',
    'chair',
    'couch',
    'potted plant',
    'bed',
    'dining table',
    'toilet',
    'tv',
    'laptop',
    'mouse',
    'remote',
    'keyboard',
    'cell phone',
    'microwave',
    'oven',
    'toaster',
    'sink',
    'refrigerator',
    'book',
    'clock',
    'vase',
    'scissors',
    'teddy bear',
    'hair drier',
    'toothbrush',
)
_LABELS = {'coco': 'annotations/instances_train2014.json'}
_DATA_PREFIX = {'img_path': 'train2014'}


@DATASETS.register_module()
class COCO14ImageLevelDataset(ImageLevelDataset):
    """COCO 2014 with the labels of its instances file: 81 classes, background first.

    Every annotation counts, crowds too. Images without any are left out and counted: 82081 of 82783 stay for training,
    40137 of 40504 for validation.

    Args:
        labels: As in ``ImageLevelDataset``; for validation ``dict(coco='annotations/instances_val2014.json')``.
        ann_file: As in ``ImageLevelDataset``.
        data_root: Folder of ``annotations``, ``train2014`` and ``val2014``.
        data_prefix: As in ``ImageLevelDataset``. Scoring needs ``seg_map_path`` as well, the folder that
            ``tools/dataset_converters/coco14.py`` has written.
        on_unlabelled: As in ``ImageLevelDataset``.
        img_suffix: How names of images end.
        **kwargs: As in ``ImageLevelDataset``.
    """

    METAINFO: ClassVar[dict[str, Any]] = {'classes': COCO14_CLASSES, 'palette': voc_palette(len(COCO14_CLASSES))}

    def __init__(
        self,
        labels: Mapping[str, str | None] | None = _LABELS,
        ann_file: str = '',
        data_root: str | None = None,
        data_prefix: Mapping[str, str | None] = _DATA_PREFIX,
        on_unlabelled: Literal['error', 'drop', 'keep', 'predict'] = 'drop',
        img_suffix: str | None = '.jpg',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            labels=labels,
            ann_file=ann_file,
            data_root=data_root,
            data_prefix={**_DATA_PREFIX, **data_prefix},
            on_unlabelled=on_unlabelled,
            img_suffix=img_suffix,
            **kwargs,
        )
