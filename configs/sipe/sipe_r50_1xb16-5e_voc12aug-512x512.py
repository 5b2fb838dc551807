# SIPE as published for PASCAL VOC 2012, on one GPU.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
