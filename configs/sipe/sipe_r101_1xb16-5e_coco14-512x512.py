# ResNet-101 in place of the published ResNet-50.
_base_ = './sipe_r50_1xb16-5e_coco14-512x512.py'
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        depth=101,
        # A file of your own instead of the download: RESNET101_WEIGHTS=path/to/resnet101.pth
        init_cfg=dict(checkpoint='{{$RESNET101_WEIGHTS:torchvision://resnet101}}'),
    ),
)
