_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/custom_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    # The number of classes follows from custom.py.
    decode_head=dict(num_classes=len(_base_.classes)),
    auxiliary_head=dict(num_classes=len(_base_.classes)),
)
val_cfg = None
