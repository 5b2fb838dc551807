# The published IRN on COCO 2014, where the published runs had to leave it out, on one GPU.
_base_ = [
    '../_base_/models/irn_r50.py',
    '../_base_/datasets/coco14_irn.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_irn_3e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=81),
)
custom_hooks = [dict(type='ImagesPerSecondHook'), dict(type='MeanDisplacementHook')]
