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
shapes_options = []
# Nothing is pretrained here: IRN sits on the encoder that SIPE has trained.
encoder = dict(RESNET18_SHAPES_WEIGHTS='@{work_dir}/sipe/last_checkpoint')
stages = [
    dict(name='make_shapes', run='tools/make_shapes.py {data_root} {shapes_options}', makes=['{data_root}']),
    *[
        {**stage, 'env': {**stage['env'], **encoder}} if 'irn_config' in stage['run'] else stage
        for stage in _base_.stages
    ],
]
