# IRN on your own images and classes, which are described in ../_base_/datasets/custom.py. Three epochs are the
# published schedule for 10000 images, about 1000 iterations; with 1000 images that is 30 epochs, for which
# --cfg-options train_cfg.max_epochs=30 is enough.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/custom_irn.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_irn_3e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=len(_base_.classes)),
)
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='MeanDisplacementHook')]
