"""Models, heads and losses of SIPE, IRN and DeepLabV2, registered with mmseg."""

from .affinity_loss import AffinityLoss
from .classification_loss import MultiLabelSoftMarginLoss
from .crf_tta import CRFSegTTAModel
from .data_preprocessor import ImageLevelDataPreProcessor
from .deeplabv2_head import DeepLabV2Head
from .displacement_loss import DisplacementLoss
from .gsc_loss import GSCLoss
from .irn_head import IRNHead
from .irn_segmentor import IRNSegmentor
from .multi_scale_cam import MultiScaleCAM
from .resnet_with_stem import ResNetWithStem
from .sipe_head import SIPEHead
from .sipe_segmentor import SIPESegmentor

__all__ = [
    'AffinityLoss',
    'CRFSegTTAModel',
    'DeepLabV2Head',
    'DisplacementLoss',
    'GSCLoss',
    'IRNHead',
    'IRNSegmentor',
    'ImageLevelDataPreProcessor',
    'MultiLabelSoftMarginLoss',
    'MultiScaleCAM',
    'ResNetWithStem',
    'SIPEHead',
    'SIPESegmentor',
]
