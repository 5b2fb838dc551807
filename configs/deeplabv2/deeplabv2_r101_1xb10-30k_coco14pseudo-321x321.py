# DeepLabV2 as published for pseudo labels: 30000 iterations of 10 crops.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/coco14_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_deeplabv2_20k.py',
]
crop_size = (321, 321)
model = dict(data_preprocessor=dict(size=crop_size), decode_head=dict(num_classes=81))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5),
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
            [dict(type='Resize', scale_factor=s, keep_ratio=True) for s in (0.5, 0.75, 1.0, 1.25, 1.5)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadScoringMask')],
            [dict(type='PackImageLevelInputs')],
        ],
    ),
]
train_dataloader = dict(batch_size=10, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=30000, val_interval=30000)
