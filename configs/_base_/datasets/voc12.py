# PASCAL VOC 2012. VOC12_ROOT is the folder that holds JPEGImages, Annotations and SegmentationClass.
data_root = '{{$VOC12_ROOT:data/VOCdevkit/VOC2012}}'
dataset_type = 'VOC12ImageLevelDataset'
crop_size = (512, 512)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=320, max_long=640),
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

# What the field trains on: 10582 images, image-level labels from the XML, no masks.
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='trainaug',
        data_prefix=dict(img_path='JPEGImages'),
        labels=dict(xml='Annotations'),
        pipeline=train_pipeline,
    ),
)
# What the field quotes: CAM mIoU on the 1464 train images, labels given, against SegmentationClass.
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='EqualSizeBatchSampler'),  # matters with a batch_size above 1
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        labels=dict(xml='Annotations'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CAMMetric', cam_threshold=0.15)
test_evaluator = val_evaluator
