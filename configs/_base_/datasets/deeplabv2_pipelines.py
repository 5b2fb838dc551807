# Pipelines of DeepLabV2 as published: crops of 321 x 321, five scales with their mirror images at test time.
deeplabv2_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5),
    dict(type='RandomCrop', crop_size=(321, 321)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
deeplabv2_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),
    dict(type='PackImageLevelInputs'),
]
deeplabv2_tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=s, keep_ratio=True) for s in (0.5, 0.75, 1.0, 1.25, 1.5)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadScoringMask')],
            [dict(type='PackImageLevelInputs')],
        ],
    ),
]
