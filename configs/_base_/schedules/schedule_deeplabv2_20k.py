# The schedule that results for VOC are published with: the head learns ten times, its biases twenty times as fast.
_base_ = './schedule_20k.py'
optimizer = dict(lr=2.5e-4)
biases = dict(lr_mult=20, decay_mult=1)
optim_wrapper = dict(
    optimizer=optimizer,
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10),
            'decode_head.classifiers.0.bias': biases,
            'decode_head.classifiers.1.bias': biases,
            'decode_head.classifiers.2.bias': biases,
            'decode_head.classifiers.3.bias': biases,
        }
    ),
)
param_scheduler = [dict(type='ExactPolyLR', eta_min=0, power=0.9, by_epoch=False)]
