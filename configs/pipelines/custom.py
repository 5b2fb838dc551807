# Your own images, as described in ../_base_/datasets/custom.py: whoever copies that file names the copy here, too.
# Without masks of the training images there is nothing to score CAMs and pseudo labels against. With masks for `val`
# the last stage scores the segmentation network; without (val_masks = None) it writes label maps to label_maps.
_base_ = ['../_base_/pipeline.py', '../_base_/datasets/custom.py']
work_dir = 'work_dirs/pipelines/custom'
# A file of your own in place of the download has to be there, too.
weights = ['{{$RESNET50_WEIGHTS:torchvision://resnet50}}']
inputs = [
    *[
        path if path.startswith('/') else '{data_root}/' + path
        for path in dict.fromkeys(
            [
                _base_.train_images,
                _base_.test_images,
                *_base_.train_labels.values(),
                *(_base_.test_labels or {}).values(),
                *filter(None, [_base_.val_masks]),
            ]
        )
    ],
    *[path for path in weights if '://' not in path],
]
sipe_config = 'configs/sipe/sipe_r50_1xb16-5e_custom-512x512.py'
irn_config = 'configs/irn/irn_r50_1xb32-3e_custom-512x512.py'
seg_config = 'configs/deeplabv3plus/deeplabv3plus_r50_1xb16-20k_custompseudo-512x512.py'
split = 'train'
stages = [stage for stage in _base_.stages if 'score_split' not in stage['run']]
if not _base_.val_masks:
    stages = [{**stage, 'figures': ''} for stage in stages]
