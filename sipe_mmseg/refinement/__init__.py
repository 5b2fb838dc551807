"""Refinement of localisation maps: arrays in, arrays out, no knowledge of MMEngine."""

from .crf import dense_crf, dense_crf_probabilities, import_densecrf, ir_labels
from .random_walk import random_walk

__all__ = ['dense_crf', 'dense_crf_probabilities', 'import_densecrf', 'ir_labels', 'random_walk']
