# DeepLabV2 as published for pseudo labels: 20000 iterations of 10 crops.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/datasets/deeplabv2_pipelines.py',
    '../_base_/seg_runtime.py',
    '../_base_/schedules/schedule_deeplabv2_20k.py',
]
model = dict(data_preprocessor=dict(size=(321, 321)))
tta_pipeline = _base_.deeplabv2_tta_pipeline
train_dataloader = dict(batch_size=10, dataset=dict(pipeline=_base_.deeplabv2_train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.deeplabv2_test_pipeline))
test_dataloader = val_dataloader
