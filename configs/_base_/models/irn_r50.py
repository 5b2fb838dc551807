# IRN as published: a frozen ResNet-50 with ImageNet's weights, not SIPE's, and its pooled stem besides the four stages.
norm_cfg = dict(type='BN', requires_grad=True)
# A config that uses this model adds size=_base_.crop_size: the batch has the size of the data set's training crop.
data_preprocessor = dict(
    type='ImageLevelDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    type='IRNSegmentor',
    data_preprocessor=data_preprocessor,
    freeze_backbone=True,
    backbone=dict(
        type='ResNetWithStem',
        depth=50,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        out_indices=(0, 1, 2, 3),
        style='pytorch',
        norm_cfg=norm_cfg,
        norm_eval=True,
        # A file of your own instead of the download: RESNET50_WEIGHTS=path/to/resnet50.pth
        init_cfg=dict(type='Pretrained', checkpoint='{{$RESNET50_WEIGHTS:torchvision://resnet50}}'),
    ),
    decode_head=dict(
        type='IRNHead',
        in_channels=[64, 256, 512, 1024, 2048],
        strides=[4, 4, 8, 16, 16],
        boundary_channels=32,
        boundary_groups=4,
        displacement_channels=[64, 128, 256, 256, 256],
        displacement_groups=[8, 16, 16, 16, 16],
        joint_channels=256,
        joint_groups=16,
        num_classes=21,
        loss_affinity=dict(type='AffinityLoss', radius=10, loss_weight=0.5),
        loss_displacement=dict(type='DisplacementLoss', radius=10, loss_weight=0.5),
    ),
    # Images are padded to 512, larger ones to a multiple of 16; IS-CAM ** 1.5 walks 2 ** 8 steps.
    test_cfg=dict(min_size=512, size_divisor=16, cam_power=1.5, radius=5, beta=10, exp_times=8),
)
