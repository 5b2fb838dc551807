# Your own images for a segmentation network: learns from the label maps in PSEUDO_LABELS. All the rest stands in
# custom.py. Scored by tools/test.py alone; without masks that writes label maps instead.
_base_ = ['./custom.py', './seg_pipelines.py']
tta_pipeline = _base_.seg_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        pseudo_labels='{{$PSEUDO_LABELS:work_dirs/pipelines/custom/labels/irn_crf}}',
        pipeline=_base_.seg_train_pipeline,
    ),
)
# All images count, whatever their image-level labels say: a network needs none.
test_dataloader = dict(dataset=dict(labels=None, pipeline=_base_.seg_test_pipeline))
test_evaluator = (
    dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
    if _base_.val_masks
    else dict(_delete_=True, type='IoUMetric', format_only=True, output_dir=_base_.label_maps)
)
val_dataloader = None
val_evaluator = None
