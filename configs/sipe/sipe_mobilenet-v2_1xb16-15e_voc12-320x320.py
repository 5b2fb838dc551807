# SIPE on a small network and small crops, to train on two CPU cores in about 20 minutes. VOC12_ROOT has, besides
# VOC's own folders, image_labels.json (image id -> class names); training and scoring both use its train.txt.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
crop_size = (320, 320)
model = dict(
    channels_last=True,
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        out_indices=(1, 2, 4, 6),
        norm_eval=True,
        frozen_stages=3,
        # A state dict in the layout of mmseg's MobileNetV2.
        init_cfg=dict(type='Pretrained', checkpoint='{{$MOBILENET_V2_WEIGHTS:data/weights/mobilenet_v2.pth}}'),
    ),
    decode_head=dict(in_channels=[24, 32, 96, 320]),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=240, max_long=480),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
labels = dict(xml=None, json='image_labels.json')
train_dataloader = dict(
    num_workers=2,
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', labels=labels, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=2, dataset=dict(ann_file='ImageSets/Segmentation/train.txt', labels=labels))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_epochs=15, val_interval=15)
