# IRN in the demo's size. There are no pretrained weights for half a ResNet-18, so the frozen encoder is the one that
# SIPE has trained: RESNET18_SHAPES_WEIGHTS is SIPE's checkpoint.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/shapes_irn.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_irn_3e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        depth=18,
        stem_channels=32,
        base_channels=32,
        init_cfg=dict(
            checkpoint='{{$RESNET18_SHAPES_WEIGHTS:work_dirs/sipe_r18_1xb16-6e_shapes-160x160/epoch_6.pth}}',
            prefix='backbone.',
        ),
    ),
    decode_head=dict(
        in_channels=[32, 32, 64, 128, 256],
        displacement_channels=[32, 32, 64, 64, 64],
        displacement_groups=[8, 8, 8, 8, 8],
        joint_channels=64,
        joint_groups=8,
        num_classes=6,
    ),
    test_cfg=dict(min_size=160),
)
train_cfg = dict(max_epochs=6)
default_hooks = dict(logger=dict(interval=10))
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='MeanDisplacementHook')]
