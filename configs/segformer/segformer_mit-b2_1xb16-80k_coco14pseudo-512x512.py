_base_ = [
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/datasets/coco14_seg.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_adamw_40k.py',
]
model = dict(data_preprocessor=dict(size=(512, 512)), decode_head=dict(num_classes=81))
train_cfg = dict(max_iters=80000, val_interval=80000)
