# A plain ViT, DeiT-S of mmpretrain, which its prefix imports. All four maps, of layers 3, 6, 9 and 12, have stride 16.
_base_ = [
    '../_base_/models/sipe_r50.py',
    '../_base_/datasets/voc12.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_adamw_5e.py',
]
model = dict(
    # Padded to whole patches, and cut off again: image and mirror then have the same patches.
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size_divisor=16)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='deit-small',
        img_size=224,  # that of the weights; the position embedding is resized to each image
        patch_size=16,
        out_indices=(2, 5, 8, 11),
        out_type='featmap',  # without the class token, which takes part in the attention all the same
        with_cls_token=True,
        final_norm=True,  # on the last map, as in pretraining
        drop_path_rate=0.0,  # no randomness inside the network, so that a resumed training is the same training
        frozen_stages=3,  # the layers up to the first map
        # A file of your own, in mmpretrain's layout, instead of the download: DEIT_SMALL_WEIGHTS=path/to/file.pth
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$DEIT_SMALL_WEIGHTS:https://download.openmmlab.com/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth}}',
            prefix='backbone',
        ),
    ),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
)
