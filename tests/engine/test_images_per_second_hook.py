import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn


@pytest.mark.parametrize(('images', 'seconds', 'processes', 'expected'), [(16, 2.0, 1, 8.0), (4, 0.5, 3, 24.0)])
def test_images_of_all_processes_over_the_time_of_the_iteration(
    monkeypatch: pytest.MonkeyPatch, images: int, seconds: float, processes: int, expected: float
) -> None:
    monkeypatch.setattr('sipe_mmseg.engine.images_per_second_hook.get_world_size', lambda: processes)
    hub = MessageHub.get_instance(f'images_{images}')
    hub.update_scalar('train/time', 100.0)  # an earlier iteration's
    hub.update_scalar('train/time', seconds)
    hook = HOOKS.build(dict(type='ImagesPerSecondHook'))
    hook.after_train_iter(SimpleNamespace(message_hub=hub), 0, dict(inputs=[torch.zeros(3)] * images))
    assert hub.get_scalar('train/images_per_second').current() == expected


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs: list[torch.Tensor], mode: str = 'tensor') -> dict[str, torch.Tensor]:
        return dict(loss=self.layer(torch.stack(inputs)).sum())


def test_stands_in_the_log_of_a_training(tmp_path: Path) -> None:
    runner = Runner(
        Line(),
        work_dir=str(tmp_path),
        experiment_name='images_per_second',
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * 6,
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=2,
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='ImagesPerSecondHook')],
        default_scope='mmseg',
        log_level='WARNING',
    )
    runner.train()
    (path,) = tmp_path.rglob('scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 3
    times = runner.message_hub.get_scalar('train/time').data[0]
    rates = runner.message_hub.get_scalar('train/images_per_second').data[0]
    assert list(rates) == pytest.approx([2 / seconds for seconds in times])
    assert all(line['images_per_second'] > 0 for line in lines)
