# The built-in set of tools/make_shapes.py. SHAPES_ROOT is the folder that it writes.
data_root = '{{$SHAPES_ROOT:data/shapes}}'
dataset_type = 'ImageLevelDataset'
crop_size = (160, 160)
metainfo = dict(
    classes=('background', 'stripes', 'rings', 'dots', 'checks', 'star'),
    palette=[[0, 0, 0], [228, 87, 86], [76, 141, 211], [242, 183, 65], [84, 162, 75], [157, 117, 188]],
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=140, max_long=200),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),  # there is no mask in the training pipeline
    dict(type='PackImageLevelInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='ScaleResize', scale_factor=s) for s in (1.0, 0.5, 1.5, 2.0)],
            [dict(type='LoadScoringMask')],
            [dict(type='PackImageLevelInputs')],
        ],
    ),
]

# The pictures are small: workers would only take time from the training on two cores.
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages'),
        labels=dict(xml='Annotations'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='EqualSizeBatchSampler'),  # matters with a batch_size above 1
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        labels=dict(xml='Annotations'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CAMMetric', cam_threshold=0.15)
test_evaluator = val_evaluator
# What --split of the label tools may name: the options of test_dataloader's data set that are different there.
splits = dict(
    train=dict(ann_file='ImageSets/Segmentation/train.txt'),
    val=dict(ann_file='ImageSets/Segmentation/val.txt'),
)
