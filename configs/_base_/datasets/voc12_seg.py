# PASCAL VOC 2012 for a segmentation network: learns from the label maps in PSEUDO_LABELS, scored on the masks of val.
_base_ = ['./voc12.py', './seg_pipelines.py']
tta_pipeline = _base_.seg_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        labels=None,
        pseudo_labels='{{$PSEUDO_LABELS:work_dirs/pipelines/voc12/labels/irn_crf}}',
        pipeline=_base_.seg_train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(ann_file='val', labels=None, pipeline=_base_.seg_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
