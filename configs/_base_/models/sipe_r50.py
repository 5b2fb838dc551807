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
    type='SIPESegmentor',
    data_preprocessor=data_preprocessor,
    # Output stride 16 without dilation, a plain stem, stored statistics in every BatchNorm.
    backbone=dict(
        type='ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        out_indices=(0, 1, 2, 3),
        style='pytorch',
        norm_cfg=norm_cfg,
        norm_eval=True,
        frozen_stages=2,
        # A file of your own instead of the download: RESNET50_WEIGHTS=path/to/resnet50.pth
        init_cfg=dict(type='Pretrained', checkpoint='{{$RESNET50_WEIGHTS:torchvision://resnet50}}'),
    ),
    decode_head=dict(
        type='SIPEHead',
        in_channels=[256, 512, 1024, 2048],
        side_channels=[128, 128, 256, 256],
        num_classes=21,
        grid_index=2,  # all maps are brought to the size of the third one
        alpha=0.5,
        alpha_on='similarity',  # 'map' is the paper's description
        loss_cls=dict(type='MultiLabelSoftMarginLoss', loss_weight=1.0),
        loss_gsc=dict(type='GSCLoss', loss_weight=1.0),
    ),
    test_cfg=dict(mirror=False, score_threshold=0.5),
)
# tools/test.py --tta: the scales are in the data set's tta_pipeline.
tta_model = dict(type='MultiScaleCAM', mirror=True)
