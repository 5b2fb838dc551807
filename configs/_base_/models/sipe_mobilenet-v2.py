# For CPU cores and small GPUs: MobileNetV2 (stride 16) whose layers after the first stages learn.
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
    channels_last=True,
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        out_indices=(1, 2, 4, 6),
        norm_eval=True,
        frozen_stages=3,
        # A file of your own instead of the download, with the names of mmseg's MobileNetV2: MOBILENET_V2_WEIGHTS=FILE
        init_cfg=dict(type='Pretrained', checkpoint='{{$MOBILENET_V2_WEIGHTS:mmcls://mobilenet_v2}}'),
    ),
    decode_head=dict(
        type='SIPEHead',
        in_channels=[24, 32, 96, 320],
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
