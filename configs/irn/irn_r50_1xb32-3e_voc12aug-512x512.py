# IRN as published for PASCAL VOC 2012, on one GPU.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/voc12_irn.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_irn_3e.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='MeanDisplacementHook')]
