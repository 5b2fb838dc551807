"""A training that was stopped while it was scored has its figures after it is resumed, and is not scored twice."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        return {'loss': self.layer(x).square().mean()} if mode == 'loss' else [{} for _ in x]


class Stoppable(BaseMetric):
    """Notes the iteration of the weights that are scored; may be stopped there."""

    def __init__(self, scored: list[str], stop: bool) -> None:
        super().__init__()
        self.scored, self.stop = scored, stop

    def process(self, data_batch: Any, data_samples: Any) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.scored.append('scored')
        return {'score': 1.0}


def run(work_dir: Path, by_epoch: bool, stop: bool = False, resume: bool = False) -> list[str]:
    scored: list[str] = []
    loader = dict(
        batch_size=2,
        dataset=[dict(x=torch.ones(2)) for _ in range(4)],
        sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=2)
        if by_epoch
        else dict(by_epoch=False, max_iters=4, val_interval=4),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=[Stoppable(scored, stop)],
        default_hooks=dict(
            checkpoint=dict(type='WholeCheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 4),
            score_finished=dict(type='ScoreFinishedHook'),
        ),
        default_scope='mmseg',
        resume=resume,
        experiment_name=f'{work_dir.name}_{by_epoch}_{stop}_{resume}',
    )
    runner.train()
    return scored


@pytest.mark.parametrize('by_epoch', [True, False])
def test_is_scored_once(by_epoch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, by_epoch, stop=True)
    assert run(tmp_path, by_epoch, resume=True) == ['scored']
    assert run(tmp_path / 'undisturbed', by_epoch) == ['scored']
