# PASCAL VOC 2012: SIPE and IRN on ResNet-50, DeepLabV2 on ResNet-101 with multi-scale test and CRF, as published.
_base_ = '../_base_/pipeline.py'
work_dir = 'work_dirs/pipelines/voc12'
data_root = '{{$VOC12_ROOT:data/VOCdevkit/VOC2012}}'
# Files of your own in place of downloads have to be there, too.
weights = ['{{$RESNET50_WEIGHTS:torchvision://resnet50}}', '{{$RESNET101_WEIGHTS:torchvision://resnet101}}']
inputs = [
    '{data_root}/JPEGImages',
    '{data_root}/Annotations',
    '{data_root}/SegmentationClass',
    *[path for path in weights if '://' not in path],
]
sipe_config = 'configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py'
irn_config = 'configs/irn/irn_r50_1xb32-3e_voc12aug-512x512.py'
seg_config = 'configs/deeplabv2/deeplabv2_r101_1xb10-20k_voc12pseudo-321x321.py'
split = 'trainaug'
score_split = 'train'
seg_test_options = ['--tta', '--cfg-options', 'tta_model.type=CRFSegTTAModel']
seg_test_modules = ['pydensecrf']
