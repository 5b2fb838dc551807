# Swin-T of mmpretrain, which its prefix imports. Strides 4, 8, 16, 32; the head brings all maps to stride 16.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_adamw_5e.py',
]
model = dict(
    # Padded to whole cells of the deepest map, and cut off again: all maps then cover the same pixels.
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,  # images of any size, even if a map is smaller than the window
        drop_path_rate=0.0,  # no randomness inside the network, so that a resumed training is the same training
        frozen_stages=1,  # as in the ResNet: patch embedding and first two stages (counted from 0 here)
        # A file of your own, in mmpretrain's layout, instead of the download: SWIN_TINY_WEIGHTS=path/to/file.pth
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$SWIN_TINY_WEIGHTS:https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth}}',
            prefix='backbone',
        ),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
)
# The norms of the first three maps feed nothing but detached side projections, so several processes must not wait for
# their gradients.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=True, broadcast_buffers=False)
