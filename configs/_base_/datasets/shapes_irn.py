# The built-in set for IRN. IR_LABELS is the folder to learn from, which tools/refine_labels.py ir
# has written; CAM_FILES the one with the CAM files to refine, which tools/generate_labels.py --cams has written.
_base_ = ['./shapes.py', './irn_pipelines.py']
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=(160, 160), seg_pad_val=255),
    dict(type='PackImageLevelInputs'),
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        pseudo_labels='{{$IR_LABELS:work_dirs/ir_labels}}',
        pipeline=train_pipeline,
    ),
)
# Nothing is scored after training: that needs the images' CAM files, and is what tools/test.py is for.
val_dataloader = None
val_evaluator = None
test_dataloader = dict(dataset=dict(ann_file='ImageSets/Segmentation/train.txt', pipeline=_base_.irn_test_pipeline))
test_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
