# Pipelines of IRN, crops of 512 x 512; what the *_irn.py beside this file put in. CAM_FILES is the folder with the CAM
# files to refine, which tools/generate_labels.py --cams has written.
irn_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=(512, 512), seg_pad_val=255),
    dict(type='PackImageLevelInputs'),
]
irn_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),  # there are none where labels are written
    dict(type='LoadCAM', cam_dir='{{$CAM_FILES:work_dirs/cams}}'),
    dict(type='PackImageLevelInputs'),
]
