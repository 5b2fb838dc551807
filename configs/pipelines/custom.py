# Your own images, as described in configs/_base_/datasets/custom.py. Without masks of the training images there is
# nothing to score CAMs and pseudo labels against; the segmentation network is scored if there are masks for `val`.
_base_ = '../_base_/pipeline.py'
work_dir = 'work_dirs/pipelines/custom'
data_root = '{{$CUSTOM_ROOT:data/custom}}'
inputs = ['{data_root}']
sipe_config = 'configs/sipe/sipe_r50_1xb16-5e_custom-512x512.py'
irn_config = 'configs/irn/irn_r50_1xb32-3e_custom-512x512.py'
seg_config = 'configs/deeplabv3plus/deeplabv3plus_r50_1xb16-20k_custompseudo-512x512.py'
split = 'train'
stages = [stage for stage in _base_.stages if 'score_split' not in stage['run']]
