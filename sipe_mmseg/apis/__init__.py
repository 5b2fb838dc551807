"""What a person calls from Python: prediction of one's own images, and maps of other methods."""

from ..engine.checkpoint_lookup import find_checkpoint
from ..engine.config_lookup import find_config
from .grad_cam import classifier_cams
from .prediction import Prediction, Predictions
from .sipe_inferencer import SIPEInferencer

__all__ = ['Prediction', 'Predictions', 'SIPEInferencer', 'classifier_cams', 'find_checkpoint', 'find_config']
