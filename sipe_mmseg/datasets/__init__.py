"""Data sets with image-level labels, and how they are sampled."""

from .cam_transforms import LoadCAM
from .coco14 import COCO14ImageLevelDataset
from .equal_size_batches import EqualSizeBatchSampler
from .image_level_dataset import ImageLevelDataset
from .sampler import SampleIndex, SeededSampler
from .transforms import (
    LoadScoringMask,
    PackImageLevelInputs,
    RandomCropOrPaste,
    RandomLongSideResize,
    RandomScaleResize,
    ScaleResize,
    TopLeftCropOrPaste,
)
from .voc12 import VOC12ImageLevelDataset

__all__ = [
    'COCO14ImageLevelDataset',
    'EqualSizeBatchSampler',
    'ImageLevelDataset',
    'LoadCAM',
    'LoadScoringMask',
    'PackImageLevelInputs',
    'RandomCropOrPaste',
    'RandomLongSideResize',
    'RandomScaleResize',
    'SampleIndex',
    'ScaleResize',
    'SeededSampler',
    'TopLeftCropOrPaste',
    'VOC12ImageLevelDataset',
]
