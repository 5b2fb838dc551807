"""Model, head and losses of SIPE, registered with mmseg."""

from .classification_loss import MultiLabelSoftMarginLoss
from .data_preprocessor import ImageLevelDataPreProcessor
from .gsc_loss import GSCLoss
from .multi_scale_cam import MultiScaleCAM
from .sipe_head import SIPEHead
from .sipe_segmentor import SIPESegmentor

__all__ = [
    'GSCLoss',
    'ImageLevelDataPreProcessor',
    'MultiLabelSoftMarginLoss',
    'MultiScaleCAM',
    'SIPEHead',
    'SIPESegmentor',
]
