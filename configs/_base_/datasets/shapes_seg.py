# The built-in set for a segmentation network: learns from the label maps in PSEUDO_LABELS.
_base_ = './shapes.py'
crop_size = (160, 160)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.8, max_scale=1.25),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),
    dict(type='PackImageLevelInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='ScaleResize', scale_factor=s) for s in (0.75, 1.0, 1.25)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadScoringMask')],
            [dict(type='PackImageLevelInputs')],
        ],
    ),
]
train_dataloader = dict(
    dataset=dict(
        labels=None,
        pseudo_labels='{{$PSEUDO_LABELS:work_dirs/pipelines/shapes/labels/irn_crf}}',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(labels=None, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
