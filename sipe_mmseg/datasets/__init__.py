"""Data sets with image-level labels, and how they are sampled."""

from .coco14 import COCO14ImageLevelDataset
from .image_level_dataset import ImageLevelDataset
from .sampler import SampleIndex, SeededSampler
from .transforms import (
    LoadScoringMask,
    PackImageLevelInputs,
    RandomCropOrPaste,
    RandomLongSideResize,
    ScaleResize,
)
from .voc12 import VOC12ImageLevelDataset

__all__ = [
    'COCO14ImageLevelDataset',
    'ImageLevelDataset',
    'LoadScoringMask',
    'PackImageLevelInputs',
    'RandomCropOrPaste',
    'RandomLongSideResize',
    'SampleIndex',
    'ScaleResize',
    'SeededSampler',
    'VOC12ImageLevelDataset',
]
