# Imported before anything is built; it registers SIPE and makes the repairs of sipe_mmseg.compat.
# A child config's custom_imports replaces this one, so it must list sipe_mmseg too.
custom_imports = dict(imports=['sipe_mmseg'], allow_failed_imports=False)
default_scope = 'mmseg'

env_cfg = dict(
    cudnn_benchmark=False,  # scoring sees a new image size every time
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)

default_hooks = dict(
    work_dir_lock=dict(type='WorkDirLockHook'),
    timer=dict(type='SteadyTimerHook'),
    logger=dict(type='OneWriterLoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    finite_loss=dict(type='FiniteLossHook'),
    # Two, because the disk may damage the newest. There must be room for a third, which is written before one goes.
    checkpoint=dict(type='WholeCheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    score_finished=dict(type='ScoreFinishedHook'),
    broadcast_buffers=dict(type='BroadcastBuffersHook'),
    visualization=dict(type='SegVisualizationHook'),
    fold_batch_norm=dict(type='FoldBatchNormHook'),  # enabled=False where MMCV's fuse_conv_bn cannot fold the network
)
custom_hooks = [dict(type='ImagesPerSecondHook')]
# To watch the maps of four images grow: --cfg-options default_hooks.maps.type=CAMVisualizationHook

# For TensorBoard instead of scalars.json: --cfg-options visualizer.vis_backends.0.type=TensorboardVisBackend
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SIPELocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
