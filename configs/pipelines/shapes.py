# The built-in set, made first: the whole chain in some minutes.
_base_ = '../_base_/pipeline.py'
work_dir = 'work_dirs/pipelines/shapes'
data_root = '{{$SHAPES_ROOT:data/shapes}}'
inputs = ['{data_root}']
sipe_config = 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
irn_config = 'configs/irn/irn_r18_1xb16-6e_shapes-160x160.py'
seg_config = 'configs/deeplabv3plus/deeplabv3plus_r18_1xb16-400i_shapespseudo-160x160.py'
split = 'train'
score_split = 'train'
# Nothing is pretrained here: IRN sits on the encoder that SIPE has trained.
irn_options = ['--cfg-options', 'model.backbone.init_cfg.checkpoint={work_dir}/sipe/epoch_6.pth']
shapes_options = []
stages = [
    dict(name='make_shapes', run='tools/make_shapes.py {data_root} {shapes_options}', makes=['{data_root}']),
    *_base_.stages,
]
