# Your own images for a segmentation network: learns from the label maps in PSEUDO_LABELS. All the rest stands in
# custom.py. Scored by tools/test.py alone, as there may be no masks.
_base_ = ['./custom.py', './seg_pipelines.py']
tta_pipeline = _base_.seg_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        pseudo_labels='{{$PSEUDO_LABELS:work_dirs/pipelines/custom/labels/irn_crf}}',
        pipeline=_base_.seg_train_pipeline,
    ),
)
test_dataloader = dict(dataset=dict(pipeline=_base_.seg_test_pipeline))
test_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
val_dataloader = None
val_evaluator = None
