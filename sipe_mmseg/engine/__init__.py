"""What the training loop needs beyond MMEngine: the exact poly schedule and the throughput in the log."""

from .exact_poly_lr import ExactPolyLR
from .images_per_second_hook import ImagesPerSecondHook

__all__ = ['ExactPolyLR', 'ImagesPerSecondHook']
