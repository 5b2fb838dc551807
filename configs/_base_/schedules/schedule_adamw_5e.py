# For transformers and ConvNeXt, which SGD at 0.1 does not suit. Not tuned: these are the usual values for fine-tuning
# them in segmentation, written down without pretrained weights at hand. Everything else is the published recipe.
_base_ = './schedule_5e.py'
optimizer = dict(_delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01)
optim_wrapper = dict(
    optimizer=optimizer,
    paramwise_cfg=dict(
        norm_decay_mult=0,
        custom_keys={
            'pos_embed': dict(decay_mult=0),
            'cls_token': dict(decay_mult=0),
            'relative_position_bias_table': dict(decay_mult=0),
        },
    ),
)
