crop_size = (
    160,
    160,
)
custom_hooks = [
    dict(type='ImagesPerSecondHook'),
]
custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'sipe_mmseg',
    ],
)
data_preprocessor = dict(
    bgr_to_rgb=True,
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    pad_val=0,
    seg_pad_val=255,
    std=[
        58.395,
        57.12,
        57.375,
    ],
    type='ImageLevelDataPreProcessor',
)
data_root = 'data/shapes'
dataset_type = 'ImageLevelDataset'
default_hooks = dict(
    checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=2, type='CheckpointHook'),
    fold_batch_norm=dict(type='FoldBatchNormHook'),
    logger=dict(interval=10, log_metric_by_epoch=False, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(type='SegVisualizationHook'),
)
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=False, dist_cfg=dict(backend='nccl'), mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)
)
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=True)
metainfo = dict(
    classes=(
        'background',
        'stripes',
        'rings',
        'dots',
        'checks',
        'star',
    ),
    palette=[
        [
            0,
            0,
            0,
        ],
        [
            228,
            87,
            86,
        ],
        [
            76,
            141,
            211,
        ],
        [
            242,
            183,
            65,
        ],
        [
            84,
            162,
            75,
        ],
        [
            157,
            117,
            188,
        ],
    ],
)
model = dict(
    backbone=dict(
        base_channels=32,
        depth=18,
        dilations=(
            1,
            1,
            1,
            1,
        ),
        frozen_stages=-1,
        init_cfg=None,
        norm_cfg=dict(requires_grad=True, type='BN'),
        norm_eval=False,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        stem_channels=32,
        strides=(
            1,
            2,
            2,
            1,
        ),
        style='pytorch',
        type='ResNet',
    ),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_val=0,
        seg_pad_val=255,
        size=(
            160,
            160,
        ),
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='ImageLevelDataPreProcessor',
    ),
    decode_head=dict(
        alpha=0.5,
        alpha_on='similarity',
        grid_index=2,
        in_channels=[
            32,
            64,
            128,
            256,
        ],
        loss_cls=dict(loss_weight=1.0, type='MultiLabelSoftMarginLoss'),
        loss_gsc=dict(loss_weight=1.0, type='GSCLoss'),
        num_classes=6,
        side_channels=[
            128,
            128,
            256,
            256,
        ],
        type='SIPEHead',
    ),
    test_cfg=dict(mirror=False, score_threshold=0.5),
    type='SIPESegmentor',
)
norm_cfg = dict(requires_grad=True, type='BN')
optim_wrapper = dict(
    clip_grad=dict(max_norm=1),
    optimizer=dict(lr=0.05, momentum=0.9, type='SGD', weight_decay=0.0001),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10))),
    type='OptimWrapper',
)
optimizer = dict(lr=0.1, momentum=0.0001, type='SGD', weight_decay=0.0001)
param_scheduler = [
    dict(by_epoch=True, convert_to_iter_based=True, eta_min=0, power=0.9, type='ExactPolyLR'),
]
randomness = dict(seed=0)
resume = False
splits = dict(
    train=dict(ann_file='ImageSets/Segmentation/train.txt'), val=dict(ann_file='ImageSets/Segmentation/val.txt')
)
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_sampler=dict(type='EqualSizeBatchSampler'),
    batch_size=1,
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        data_root='data/shapes',
        labels=dict(xml='Annotations'),
        metainfo=dict(
            classes=(
                'background',
                'stripes',
                'rings',
                'dots',
                'checks',
                'star',
            ),
            palette=[
                [
                    0,
                    0,
                    0,
                ],
                [
                    228,
                    87,
                    86,
                ],
                [
                    76,
                    141,
                    211,
                ],
                [
                    242,
                    183,
                    65,
                ],
                [
                    84,
                    162,
                    75,
                ],
                [
                    157,
                    117,
                    188,
                ],
            ],
        ),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadScoringMask'),
            dict(type='PackImageLevelInputs'),
        ],
        test_mode=True,
        type='ImageLevelDataset',
    ),
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'),
)
test_evaluator = dict(cam_threshold=0.15, type='CAMMetric')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),
    dict(type='PackImageLevelInputs'),
]
train_cfg = dict(max_epochs=6, type='EpochBasedTrainLoop', val_interval=6)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages'),
        data_root='data/shapes',
        labels=dict(xml='Annotations'),
        metainfo=dict(
            classes=(
                'background',
                'stripes',
                'rings',
                'dots',
                'checks',
                'star',
            ),
            palette=[
                [
                    0,
                    0,
                    0,
                ],
                [
                    228,
                    87,
                    86,
                ],
                [
                    76,
                    141,
                    211,
                ],
                [
                    242,
                    183,
                    65,
                ],
                [
                    84,
                    162,
                    75,
                ],
                [
                    157,
                    117,
                    188,
                ],
            ],
        ),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(max_long=200, min_long=140, type='RandomLongSideResize'),
            dict(prob=0.5, type='RandomFlip'),
            dict(
                crop_size=(
                    160,
                    160,
                ),
                type='RandomCropOrPaste',
            ),
            dict(type='PackImageLevelInputs'),
        ],
        type='ImageLevelDataset',
    ),
    drop_last=True,
    num_workers=0,
    sampler=dict(shuffle=True, type='SeededSampler'),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(max_long=200, min_long=140, type='RandomLongSideResize'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        crop_size=(
            160,
            160,
        ),
        type='RandomCropOrPaste',
    ),
    dict(type='PackImageLevelInputs'),
]
tta_model = dict(mirror=True, type='MultiScaleCAM')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        transforms=[
            [
                dict(scale_factor=1.0, type='ScaleResize'),
                dict(scale_factor=0.5, type='ScaleResize'),
                dict(scale_factor=1.5, type='ScaleResize'),
                dict(scale_factor=2.0, type='ScaleResize'),
            ],
            [
                dict(type='LoadScoringMask'),
            ],
            [
                dict(type='PackImageLevelInputs'),
            ],
        ],
        type='TestTimeAug',
    ),
]
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_sampler=dict(type='EqualSizeBatchSampler'),
    batch_size=1,
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        data_root='data/shapes',
        labels=dict(xml='Annotations'),
        metainfo=dict(
            classes=(
                'background',
                'stripes',
                'rings',
                'dots',
                'checks',
                'star',
            ),
            palette=[
                [
                    0,
                    0,
                    0,
                ],
                [
                    228,
                    87,
                    86,
                ],
                [
                    76,
                    141,
                    211,
                ],
                [
                    242,
                    183,
                    65,
                ],
                [
                    84,
                    162,
                    75,
                ],
                [
                    157,
                    117,
                    188,
                ],
            ],
        ),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadScoringMask'),
            dict(type='PackImageLevelInputs'),
        ],
        test_mode=True,
        type='ImageLevelDataset',
    ),
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'),
)
val_evaluator = dict(cam_threshold=0.15, type='CAMMetric')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    name='visualizer',
    type='SegLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ],
)
