# A list of VOC 2012 and MobileNetV2 throughout, for CPU cores: every kind of label trains a network of its own, and so
# do the true masks. As in the SIPE config of this name, VOC12_ROOT has its own lists and image_labels.json.
_base_ = '../_base_/pipeline.py'
work_dir = 'work_dirs/pipelines/voc12-mobilenet'
data_root = '{{$VOC12_ROOT:data/VOCdevkit/VOC2012}}'
weights = ['{{$MOBILENET_V2_WEIGHTS:mmcls://mobilenet_v2}}']
inputs = [
    '{data_root}/JPEGImages',
    '{data_root}/image_labels.json',
    '{data_root}/SegmentationClass',
    '{data_root}/ImageSets/Segmentation/train.txt',
    '{data_root}/ImageSets/Segmentation/val.txt',
    *[path for path in weights if '://' not in path],
]
sipe_config = 'configs/sipe/sipe_mobilenet-v2-alphamap_1xb16-15e_voc12-320x320.py'
irn_config = 'configs/irn/irn_mobilenet-v2_1xb16-15e_voc12-320x320.py'
seg_config = 'configs/deeplabv3plus/deeplabv3plus_mobilenet-v2_1xb8-1500i_voc12pseudo-321x321.py'
ir_options = ['--thresholds', '0.4', '0.1']  # surer than the published rule here (docs/results.md)
split = 'ImageSets/Segmentation/train.txt'
score_split = 'ImageSets/Segmentation/train.txt'
seg_labels = dict(
    is_cam='{work_dir}/labels/is_cam',
    is_cam_crf='{work_dir}/labels/is_cam_crf',
    irn='{work_dir}/labels/irn',
    irn_crf='{work_dir}/labels/irn_crf',
    masks='{data_root}/SegmentationClass',
)
