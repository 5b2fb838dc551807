# COCO 2014 for a segmentation network: learns from the label maps in PSEUDO_LABELS, scored on the masks of val2014 that
# tools/dataset_converters/coco14.py renders. Images without any object are left out, as the field does.
_base_ = ['./coco14.py', './seg_pipelines.py']
tta_pipeline = _base_.seg_tta_pipeline
train_dataloader = dict(
    dataset=dict(
        pseudo_labels='{{$PSEUDO_LABELS:work_dirs/pipelines/coco14/labels/irn_crf}}',
        pipeline=_base_.seg_train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='val2014', seg_map_path='masks/val2014'),
        labels=dict(coco='annotations/instances_val2014.json'),
        pipeline=_base_.seg_test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
