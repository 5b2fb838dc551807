"""What a person calls from Python: prediction of one's own images."""

from ..engine.config_lookup import find_checkpoint, find_config
from .prediction import Prediction, Predictions
from .sipe_inferencer import SIPEInferencer

__all__ = ['Prediction', 'Predictions', 'SIPEInferencer', 'find_checkpoint', 'find_config']
