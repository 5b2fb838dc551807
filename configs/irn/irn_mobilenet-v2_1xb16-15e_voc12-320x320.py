# IRN on a small network and small crops, for two CPU cores. VOC12_ROOT has, besides VOC's own folders,
# image_labels.json (image id -> class names); training and scoring both use its train.txt.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/voc12_irn.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_irn_3e.py',
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
        # A file of your own instead of the download, with the names of mmseg's MobileNetV2: MOBILENET_V2_WEIGHTS=FILE
        init_cfg=dict(type='Pretrained', checkpoint='{{$MOBILENET_V2_WEIGHTS:mmcls://mobilenet_v2}}'),
    ),
    # The displacement branch, which costs most and decides no label, has a quarter of the published channels.
    decode_head=dict(
        in_channels=[24, 32, 96, 320],
        strides=[4, 8, 16, 16],
        displacement_channels=[32, 64, 64, 64],
        displacement_groups=[8, 8, 8, 8],
        joint_channels=64,
        joint_groups=8,
    ),
    # Boundaries leak more than a ResNet's: a background that walks would drown small objects, and a long walk leaves
    # the objects. These numbers were picked on the masks of the 1000 training images (docs/results.md).
    test_cfg=dict(min_size=320, cam_power=1.0, beta=5.0, exp_times=6, background_threshold=0.45),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size, seg_pad_val=255),
    dict(type='PackImageLevelInputs'),
]
labels = dict(xml=None, json='image_labels.json')
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', labels=labels, pipeline=train_pipeline),
)
test_dataloader = dict(num_workers=2, dataset=dict(ann_file='ImageSets/Segmentation/train.txt', labels=labels))

train_cfg = dict(max_epochs=15)
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='MeanDisplacementHook')]
