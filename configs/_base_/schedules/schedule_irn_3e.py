# The published recipe of IRN: no gradient clipping, ten times the rate for the displacement branch. Its momentum is
# 1e-4: the published optimiser passes the weight decay there.
optimizer = dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=optimizer,
    paramwise_cfg=dict(custom_keys={'decode_head.displacement': dict(lr_mult=10)}),
)
# Per iteration over the whole training, however many epochs and images there are.
param_scheduler = [dict(type='ExactPolyLR', power=0.9, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
test_cfg = dict(type='TestLoop')
