"""Misspelt keys and types of a config, and errors that are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, LOOPS
from mmseg.registry import DATASETS, MODELS, OPTIMIZERS, TRANSFORMS
from torch.utils.data import DataLoader

from sipe_mmseg.engine.config_mistakes import config_mistake

PATH = Path(__file__).parents[2] / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'


@pytest.mark.parametrize(
    ('change', 'build', 'message'),
    [
        (
            {'model.decode_head.alpa': 1},
            lambda config: MODELS.build(config.model),
            "model.decode_head.alpa is 1, but SIPEHead has no 'alpa'; did you mean 'alpha'?",
        ),
        (
            {'train_dataloader.dataset.on_unlabeled': 'drop'},  # which is handed on to the classes it inherits from
            lambda config: DATASETS.build(config.train_dataloader.dataset),
            "train_dataloader.dataset.on_unlabeled is 'drop', but ImageLevelDataset has no 'on_unlabeled'; "
            "did you mean 'on_unlabelled'?",
        ),
        (
            {'model.backbone.type': 'ResNett'},
            lambda config: MODELS.build(config.model),
            "model.backbone.type is 'ResNett', but no model is called so; did you mean 'ResNet'?",
        ),
        (
            {'train_cfg.max_epoch': 3},
            lambda config: LOOPS.build(config.train_cfg, default_args=dict(runner=None, dataloader=[])),
            "train_cfg.max_epoch is 3, but EpochBasedTrainLoop has no 'max_epoch'; did you mean 'max_epochs'?",
        ),
        (
            {'default_hooks.logger.intervall': 3},
            lambda config: HOOKS.build(config.default_hooks.logger),
            "default_hooks.logger.intervall is 3, but OneWriterLoggerHook has no 'intervall'; did you mean 'interval'?",
        ),
        (
            {'train_dataloader': dict(batchsize=2, num_workers=0)},
            lambda config: DataLoader([], batchsize=2),
            "train_dataloader.batchsize is 2, but DataLoader has no 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            {'optimizer.zzz': 'a' * 100},
            lambda config: OPTIMIZERS.build(config.optimizer, default_args=dict(params=[])),
            f"optimizer.zzz is '{'a' * 56}..., but SGD has no 'zzz'; it has params, lr, ",
        ),
        (
            {'train_pipeline': [dict(type='RandomFlip', prob=0.5), dict(type='RandomFlipp')]},
            lambda config: [TRANSFORMS.build(step) for step in config.train_pipeline],
            "train_pipeline.1.type is 'RandomFlipp', but no transform is called so; did you mean 'RandomFlip'?",
        ),
        (
            {'model.backbone.type': 'Fly'},
            lambda config: MODELS.build(config.model),
            "model.backbone.type is 'Fly', but no model is called so; a class of your own needs custom_imports",
        ),
    ],
)
def test_mistakes(change: dict[str, Any], build: Callable[[Config], object], message: str) -> None:
    config = Config.fromfile(PATH)
    config.merge_from_dict(change)
    with pytest.raises((TypeError, KeyError)) as caught:
        build(config)
    assert (config_mistake(caught.value, config) or '').startswith(f'{PATH}: {message}')


def test_the_config_is_found_on_the_way() -> None:
    def command() -> None:
        config = Config.fromfile(PATH)
        config.model.decode_head.alpa = 1
        MODELS.build(config.model)

    with pytest.raises(TypeError) as caught:
        command()
    assert (config_mistake(caught.value) or '').startswith(f'{PATH}: model.decode_head.alpa is 1')


def function(size: int) -> int:
    return size


@pytest.mark.parametrize('wrong', [lambda: function(alpha=1), lambda: {}[''], lambda: {}['SIPEHead'], lambda: 1 + ''])
def test_other_errors_are_not_explained(wrong: Callable[[], object]) -> None:
    """``alpha`` is a key of the config, too, but not one of what was called."""
    config = Config.fromfile(PATH)
    config.model.decode_head.alpha = 1
    with pytest.raises((TypeError, KeyError)) as caught:
        wrong()
    assert config_mistake(caught.value, config) is None
