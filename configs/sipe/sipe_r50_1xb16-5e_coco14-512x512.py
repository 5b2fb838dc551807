# SIPE as published for COCO 2014, on one GPU.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/coco14.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=81),
)
