# SIPE on a small network and small crops, to train on two CPU cores in about 20 minutes. VOC12_ROOT has, besides
# VOC's own folders, image_labels.json (image id -> class names); training and scoring both use its train.txt.
_base_ = [
    '../_base_/models/sipe_mobilenet-v2.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
crop_size = (320, 320)
model = dict(data_preprocessor=dict(size=crop_size))

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
