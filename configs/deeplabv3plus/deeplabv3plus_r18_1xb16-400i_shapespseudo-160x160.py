# A small DeepLabV3+ from scratch for the built-in set: half a ResNet-18, stride 16.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/shapes_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        base_channels=32,
        stem_channels=32,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        out_indices=(0, 1, 2, 3),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    decode_head=dict(
        in_channels=256, channels=64, dilations=(1, 3, 6), c1_in_channels=32, c1_channels=16, num_classes=6
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=100))
