_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='{{$RESNET101_V1C_WEIGHTS:open-mmlab://resnet101_v1c}}')),
)
