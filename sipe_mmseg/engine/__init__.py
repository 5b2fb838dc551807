"""What the loops need beyond MMEngine: the exact poly schedule, throughput and progress, IRN's mean displacement."""

from .bfloat16_optim_wrapper import Bfloat16OptimWrapper
from .channels_last_hook import ChannelsLastHook
from .exact_poly_lr import ExactPolyLR
from .images_per_second_hook import ImagesPerSecondHook
from .iteration_seed_hook import IterationSeedHook
from .mean_displacement_hook import MeanDisplacementHook
from .progress import ProgressHook

__all__ = [
    'Bfloat16OptimWrapper',
    'ChannelsLastHook',
    'ExactPolyLR',
    'ImagesPerSecondHook',
    'IterationSeedHook',
    'MeanDisplacementHook',
    'ProgressHook',
]
