"""What the loops need beyond MMEngine: schedule, precision, checkpoints, throughput, progress, faults and more."""

from .avg_non_ignore_hook import AvgNonIgnoreHook
from .bfloat16_optim_wrapper import Bfloat16OptimWrapper
from .broadcast_buffers_hook import BroadcastBuffersHook
from .channels_last_hook import ChannelsLastHook
from .exact_poly_lr import ExactPolyLR
from .finite_loss_hook import FiniteLossHook
from .fold_batch_norm_hook import FoldBatchNormHook
from .images_per_second_hook import ImagesPerSecondHook
from .iteration_seed_hook import IterationSeedHook
from .mean_displacement_hook import MeanDisplacementHook
from .one_writer_logger_hook import OneWriterLoggerHook
from .progress import ProgressHook
from .score_finished_hook import ScoreFinishedHook
from .steady_timer_hook import SteadyTimerHook
from .whole_checkpoint_hook import WholeCheckpointHook
from .work_dir_lock_hook import WorkDirLockHook

__all__ = [
    'AvgNonIgnoreHook',
    'Bfloat16OptimWrapper',
    'BroadcastBuffersHook',
    'ChannelsLastHook',
    'ExactPolyLR',
    'FiniteLossHook',
    'FoldBatchNormHook',
    'ImagesPerSecondHook',
    'IterationSeedHook',
    'MeanDisplacementHook',
    'OneWriterLoggerHook',
    'ProgressHook',
    'ScoreFinishedHook',
    'SteadyTimerHook',
    'WholeCheckpointHook',
    'WorkDirLockHook',
]
