# For segmentation networks, which train by iterations.
_base_ = './default_runtime.py'
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000))
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='IterationSeedHook')]
log_processor = dict(by_epoch=False)
