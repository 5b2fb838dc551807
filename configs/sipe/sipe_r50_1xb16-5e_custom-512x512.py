# SIPE on your own images and classes. What they are, and where, is in ../_base_/datasets/custom.py: edit that file, or
# copy both and point _base_ to the copy. Five epochs are the published schedule for 10000 images, about 3300
# iterations; fewer images take more epochs (--cfg-options train_cfg.max_epochs=15) and fewer iterations, see
# docs/settings.md.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/custom.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_5e.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=len(_base_.classes)),
)
# The loop that scores after training is there if masks are.
val_cfg = _base_.val_cfg if _base_.val_masks else None
