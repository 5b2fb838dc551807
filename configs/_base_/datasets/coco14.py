# COCO 2014. COCO14_ROOT holds train2014, val2014, annotations, and for scoring the masks of 81 classes that
#   python tools/dataset_converters/coco14.py $COCO14_ROOT/annotations/instances_train2014.json OUT_DIR
# renders into masks/train2014 and masks/val2014.
data_root = '{{$COCO14_ROOT:data/coco2014}}'
dataset_type = 'COCO14ImageLevelDataset'
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

# 82081 images have objects, and labels are drawn from them; the 702 without any are left out.
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='train2014'),
        labels=dict(coco='annotations/instances_train2014.json'),
        pipeline=train_pipeline,
    ),
)
# CAM mIoU on the training images, labels given. For val2014 change both names and the masks' folder.
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='EqualSizeBatchSampler'),  # matters with a batch_size above 1
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='train2014', seg_map_path='masks/train2014'),
        labels=dict(coco='annotations/instances_train2014.json'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CAMMetric', cam_threshold=0.15)
test_evaluator = val_evaluator
# What --split of the label tools may name: the options of test_dataloader's data set that are different there.
splits = dict(
    train2014=dict(
        data_prefix=dict(img_path='train2014', seg_map_path='masks/train2014'),
        labels=dict(coco='annotations/instances_train2014.json'),
    ),
    val2014=dict(
        data_prefix=dict(img_path='val2014', seg_map_path='masks/val2014'),
        labels=dict(coco='annotations/instances_val2014.json'),
    ),
)
