# Your own images and classes: a template. Set CUSTOM_ROOT to your folder and edit the part down to the line.
data_root = '{{$CUSTOM_ROOT:data/custom}}'

# Background comes first. The number of classes of every model that uses this file follows from this line.
classes = ('background', 'cat', 'dog')

# The images, with subfolders if you like: .jpg, .jpeg, .png, ... To use only some of them give the data sets further
# down an ann_file, a text file with one image a line.
train_images = 'images/train'
val_images = 'images/val'  # None: no others, those to train on are predicted, with their labels; val_masks are theirs

# Which classes are in which image, in one of three forms.
# JSON: {"0001.jpg": ["cat"], "more/0002": ["cat", "dog"], "0003.jpg": []}
train_labels = dict(json='labels/train.json')
val_labels = dict(json='labels/val.json')  # None: the classifier itself says which classes are there
# CSV, "image,labels" with lines like "0001.jpg,cat;dog", or "image,cat,dog" with lines like "0001.jpg,1,0":
#   train_labels = dict(csv='labels/train.csv')
# One folder for each class, images/train/cat/0001.jpg; the image of a cat and a dog lies, as the same file, in both:
#   train_labels = dict(folders='images/train')    # the same folder as train_images
# Two sources at once are held against each other: dict(json='labels/train.json', csv='labels/train.csv').

# What to do with images that have no label: 'error', 'drop' (leave them out) or 'keep' (nothing but background). With
# few classes, images of none of them teach what does not belong to these, and are worth more than anything else.
on_unlabelled = 'error'

# Masks to score against, palette or greyscale PNGs of class indices (255 is ignored), named after the image:
# masks/val/0001.png. Training reads none. Without masks write val_masks = None: nothing is scored after training, and
# tools/test.py writes IS-CAM's label maps to label_maps instead of scoring them.
val_masks = 'masks/val'
label_maps = 'work_dirs/label_maps'
# ----------------------------------------------------------------------------------------------------------------------

dataset_type = 'ImageLevelDataset'
test_images = val_images or train_images
test_labels = val_labels if val_images else train_labels
metainfo = dict(classes=classes)
crop_size = (512, 512)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomLongSideResize', min_long=320, max_long=640),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropOrPaste', crop_size=crop_size),
    dict(type='PackImageLevelInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadScoringMask'),  # there is no mask in the training pipeline
    dict(type='PackImageLevelInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='ScaleResize', scale_factor=s) for s in (1.0, 0.5, 1.5, 2.0)],
            [dict(type='LoadScoringMask')],
            [dict(type='PackImageLevelInputs')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        data_prefix=dict(img_path=train_images),
        labels=train_labels,
        on_unlabelled=on_unlabelled,
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='EqualSizeBatchSampler'),  # matters with a batch_size above 1
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        data_prefix=dict(img_path=test_images, seg_map_path=val_masks),
        labels=test_labels,
        on_unlabelled=on_unlabelled,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = (
    dict(type='CAMMetric', cam_threshold=0.15)
    if val_masks
    else dict(type='CAMMetric', format_only=True, output_dir=label_maps)
)
val_dataloader = test_dataloader if val_masks else None
val_evaluator = test_evaluator if val_masks else None
# What --split of the label tools may name: the options of test_dataloader's data set that are different there.
splits = dict(
    train=dict(data_prefix=dict(img_path=train_images), labels=train_labels),
    val=dict(data_prefix=dict(img_path=test_images, seg_map_path=val_masks), labels=test_labels),
)
