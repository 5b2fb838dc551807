# COCO 2014 for IRN. IR_LABELS is the folder to learn from, which tools/refine_labels.py ir
# has written; CAM_FILES the one with the CAM files to refine, which tools/generate_labels.py --cams has written.
_base_ = ['./coco14.py', './irn_pipelines.py']
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pseudo_labels='{{$IR_LABELS:work_dirs/ir_labels}}',
        pipeline=_base_.irn_train_pipeline,
    ),
)
# Nothing is scored after training: that needs the images' CAM files, and is what tools/test.py is for.
val_dataloader = None
val_evaluator = None
test_dataloader = dict(dataset=dict(pipeline=_base_.irn_test_pipeline))
test_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
