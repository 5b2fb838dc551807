"""Scoring and writing of localisation maps and label maps."""

from .cam_metric import CAMMetric
from .label_writer import LabelWriter

__all__ = ['CAMMetric', 'LabelWriter']
