# The published recipe. Its momentum is 1e-4: the published optimiser passes the weight decay there.
optimizer = dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=optimizer,
    clip_grad=dict(max_norm=1),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10)}),
)
# Per iteration over the whole training, however many epochs and images there are.
param_scheduler = [dict(type='ExactPolyLR', power=0.9, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
