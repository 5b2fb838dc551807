# DeepLabV3+ on MobileNetV2 (stride 16) for a list of VOC 2012, to train on CPU cores. As in the SIPE config of the same
# network, VOC12_ROOT has lists of its own.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
crop_size = (321, 321)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        out_indices=(1, 2, 4, 6),
        norm_eval=True,
        frozen_stages=3,
        # A file of your own instead of the download, with the names of mmseg's MobileNetV2: MOBILENET_V2_WEIGHTS=FILE
        init_cfg=dict(type='Pretrained', checkpoint='{{$MOBILENET_V2_WEIGHTS:mmcls://mobilenet_v2}}'),
    ),
    decode_head=dict(in_channels=320, channels=128, dilations=(1, 6, 12, 18), c1_in_channels=24, c1_channels=24),
    auxiliary_head=None,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.75, max_scale=1.25),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),
    dict(type='PackImageLevelInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(ann_file='ImageSets/Segmentation/val.txt', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# Twelve times through 1000 images is little: in it, AdamW and a gentle augmentation come further than what is usual.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False)]
train_cfg = dict(max_iters=1500, val_interval=1500)
default_hooks = dict(checkpoint=dict(interval=500))
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='IterationSeedHook'), dict(type='ChannelsLastHook')]
