# The demo: a ResNet-18 of half the usual width, trained from scratch on the built-in set in a few minutes of two cores.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/shapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    # Nothing is pretrained, so all layers train, and the BatchNorms on the statistics of their batches.
    backbone=dict(
        depth=18,
        stem_channels=32,
        base_channels=32,
        norm_eval=False,
        frozen_stages=-1,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 256], num_classes=6),
)

# From scratch it takes momentum; the rest is the published recipe.
optim_wrapper = dict(optimizer=dict(lr=0.05, momentum=0.9))
train_cfg = dict(max_epochs=6, val_interval=6)
default_hooks = dict(logger=dict(interval=10))
