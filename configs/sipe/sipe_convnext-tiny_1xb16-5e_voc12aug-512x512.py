# ConvNeXt-T of mmpretrain, which its prefix imports. Strides 4, 8, 16, 32; the head brings all maps to stride 16.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_adamw_5e.py',
]
model = dict(
    # Padded to whole cells of the deepest map, and cut off again: the stem drops what is left over at right and bottom.
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,  # maps, not vectors
        layer_scale_init_value=1.0,  # the weights bring their own
        drop_path_rate=0.0,  # no randomness inside the network, so that a resumed training is the same training
        frozen_stages=2,  # as in the ResNet: stem and first two stages
        # A file of your own, in mmpretrain's layout, instead of the download: CONVNEXT_TINY_WEIGHTS=path/to/file.pth
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$CONVNEXT_TINY_WEIGHTS:https://download.openmmlab.com/mmclassification/v0/convnext/convnext-tiny_32xb128-noema_in1k_20221208-5d4509c7.pth}}',
            prefix='backbone',
        ),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
)
# The norms of the first three maps feed nothing but detached side projections, so several processes must not wait for
# their gradients.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=True, broadcast_buffers=False)
