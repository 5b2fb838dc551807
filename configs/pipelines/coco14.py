# COCO 2014: as for VOC, on 82081 images and 81 classes, without the CRF at test time. The masks are those of
# tools/dataset_converters/coco14.py.
_base_ = '../_base_/pipeline.py'
work_dir = 'work_dirs/pipelines/coco14'
data_root = '{{$COCO14_ROOT:data/coco2014}}'
# Files of your own in place of downloads have to be there, too.
weights = ['{{$RESNET50_WEIGHTS:torchvision://resnet50}}', '{{$RESNET101_WEIGHTS:torchvision://resnet101}}']
inputs = [
    '{data_root}/train2014',
    '{data_root}/val2014',
    '{data_root}/annotations/instances_train2014.json',
    '{data_root}/annotations/instances_val2014.json',
    '{data_root}/masks/train2014',
    '{data_root}/masks/val2014',
    *[path for path in weights if '://' not in path],
]
sipe_config = 'configs/sipe/sipe_r50_1xb16-5e_coco14-512x512.py'
irn_config = 'configs/irn/irn_r50_1xb32-3e_coco14-512x512.py'
seg_config = 'configs/deeplabv2/deeplabv2_r101_1xb10-30k_coco14pseudo-321x321.py'
split = 'train2014'
score_split = 'train2014'
# The published CRF after it takes some seconds of CPU an image with 81 classes, days for val2014:
#   ['--tta', '--cfg-options', 'tta_model.type=CRFSegTTAModel']
seg_test_options = ['--tta']
