"""The schedule at every iteration, by itself and as a Runner builds it."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import PARAM_SCHEDULERS
from torch import nn

CONFIGS = Path(__file__).parents[2] / 'configs'


def optimizer(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in rates], lr=1.0)


def build(sgd: torch.optim.SGD, **config: object) -> object:
    return PARAM_SCHEDULERS.build(
        dict(dict(type='ExactPolyLR', power=0.9, by_epoch=False), **config), default_args=dict(optimizer=sgd)
    )


def rates_of(sgd: torch.optim.SGD, scheduler: object, steps: int) -> list[list[float]]:
    """Learning rates of all groups in each iteration."""
    found = []
    for _ in range(steps):
        found.append([group['lr'] for group in sgd.param_groups])
        sgd.step()
        scheduler.step()
    return found


def poly(lr: float, t: int, total: int, power: float = 0.9, eta_min: float = 0.0) -> float:
    return eta_min + (lr - eta_min) * (1 - t / total) ** power


@pytest.mark.parametrize('total', [1, 2, 3, 10, 93, 3305])
def test_every_iteration(total: int) -> None:
    sgd = optimizer(0.1, 1.0)
    found = rates_of(sgd, build(sgd, end=total), total)
    for t, rates in enumerate(found):
        assert rates == pytest.approx([poly(0.1, t, total), poly(1.0, t, total)], rel=1e-9)
    assert min(found[-1]) > 0  # the last iteration still learns; PolyLR with the same end does not


@pytest.mark.parametrize(('power', 'eta_min'), [(1.0, 0.0), (0.9, 0.01), (2.0, 1e-4)])
def test_power_and_floor(power: float, eta_min: float) -> None:
    sgd = optimizer(0.1)
    found = rates_of(sgd, build(sgd, end=20, power=power, eta_min=eta_min), 20)
    assert [lr for (lr,) in found] == pytest.approx([poly(0.1, t, 20, power, eta_min) for t in range(20)], rel=1e-9)


def test_begins_later() -> None:
    sgd = optimizer(0.1)
    found = rates_of(sgd, build(sgd, begin=5, end=15), 15)
    assert [lr for (lr,) in found] == pytest.approx([0.1] * 5 + [poly(0.1, t, 10) for t in range(10)], rel=1e-9)


def test_epochs_become_iterations() -> None:
    sgd = optimizer(0.1)
    scheduler = build(sgd, end=3, by_epoch=True, convert_to_iter_based=True, epoch_length=7)
    assert [lr for (lr,) in rates_of(sgd, scheduler, 21)] == pytest.approx(
        [poly(0.1, t, 21) for t in range(21)], rel=1e-9
    )


@pytest.mark.parametrize('stop', [1, 4, 9])
def test_goes_on_from_its_state(stop: int) -> None:
    sgd = optimizer(0.1)
    scheduler = build(sgd, end=10)
    rates_of(sgd, scheduler, stop)
    state, groups = scheduler.state_dict(), sgd.state_dict()
    sgd = optimizer(0.1)
    scheduler = build(sgd, end=10)
    sgd.load_state_dict(groups)
    scheduler.load_state_dict(state)
    found = rates_of(sgd, scheduler, 10 - stop)
    assert [lr for (lr,) in found] == pytest.approx([poly(0.1, t, 10) for t in range(stop, 10)], rel=1e-9)


class Line(BaseModel):
    """Something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.decode_head = nn.Linear(1, 1)
        self.backbone = nn.Linear(1, 1)
        self.rates: list[list[float]] = []

    def forward(self, inputs: list[torch.Tensor], mode: str = 'tensor') -> dict[str, torch.Tensor]:
        return dict(loss=self.decode_head(self.backbone(torch.stack(inputs))).sum())

    def train_step(self, data: dict, optim_wrapper: object) -> dict[str, torch.Tensor]:
        self.rates.append(sorted({group['lr'] for group in optim_wrapper.optimizer.param_groups}))
        return super().train_step(data, optim_wrapper)


def runner(folder: Path, images: int, max_epochs: int, resume: bool = False) -> Runner:
    """The shipped schedule as a Runner builds it, over batches of 2 with the incomplete one dropped."""
    schedule = Config.fromfile(CONFIGS / '_base_' / 'schedules' / 'schedule_5e.py')
    return Runner(
        Line(),
        work_dir=str(folder),
        experiment_name=f'{folder.name}_{max_epochs}_{images}_{resume}',
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * images,
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=2,
            drop_last=True,
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=max_epochs),
        optim_wrapper=schedule.optim_wrapper,
        param_scheduler=schedule.param_scheduler,
        default_scope='mmseg',
        log_level='WARNING',
        resume=resume,
    )


@pytest.mark.parametrize(('images', 'max_epochs'), [(7, 5), (7, 2), (12, 3), (2, 1)])
def test_shipped_schedule_is_exact_for_any_number_of_images_and_epochs(
    tmp_path: Path, images: int, max_epochs: int
) -> None:
    training = runner(tmp_path, images, max_epochs)
    model = training.train()
    total = images // 2 * max_epochs
    assert len(model.rates) == total
    for t, rates in enumerate(model.rates):
        assert rates == pytest.approx([poly(0.1, t, total), poly(1.0, t, total)], rel=1e-9)


def test_resumed_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    first = runner(tmp_path, 6, 4)
    step, seen = first.model.train_step, []

    def stop_in_the_third_epoch(data: dict, optim_wrapper: object) -> dict:
        seen.append(None)
        if len(seen) == 8:
            raise Stop
        return step(data, optim_wrapper)

    first.model.train_step = stop_in_the_third_epoch
    with pytest.raises(Stop):
        first.train()
    resumed = runner(tmp_path, 6, 4, resume=True)
    model = resumed.train()
    assert [rates[0] for rates in model.rates] == pytest.approx([poly(0.1, t, 12) for t in range(6, 12)], rel=1e-9)


def test_fewer_images_than_a_batch_are_said_to_be_too_few(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'fewer images than a batch.*smaller batch_size'):
        runner(tmp_path, 1, 2).train()
