# SIPE on your own photographs without a GPU, or with a small one. What they are, and where, is in
# ../_base_/datasets/custom.py: edit that file, or copy both and point _base_ to the copy. Some hundred photographs gave
# their best maps after 100 to 300 steps of 16, and worse ones after 900 (docs/settings.md): look after every epoch.
_base_ = [
    '../_base_/models/sipe_mobilenet-v2.py',
    '../_base_/datasets/custom.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
crop_size = (320, 320)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=len(_base_.classes)),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=240, max_long=480),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
train_dataloader = dict(num_workers=2, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_epochs=10, val_interval=2)
# The loop that scores after training is there if masks are.
val_cfg = _base_.val_cfg if _base_.val_masks else None
