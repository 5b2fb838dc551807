"""Stops and full disks while a checkpoint is written, and what a resumed training makes of them."""

import errno
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from sipe_mmseg.engine import whole_checkpoint_hook
from sipe_mmseg.engine.config_lookup import shipped_configs

EPOCHS = 4


class Line(BaseModel):
    """The smallest model that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
        return {'loss': (self.layer(x) - y).square().mean()}


def train(work_dir: Path, resume: bool = False, **hook: Any) -> str:
    """Train for four epochs as the shipped configs do; returns what is logged."""
    runtime = Config.fromfile(shipped_configs() / '_base_/default_runtime.py')
    checkpoint = dict(runtime.default_hooks.checkpoint, **hook)
    torch.manual_seed(0)
    data = [dict(x=torch.randn(2), y=torch.randn(1)) for _ in range(8)]
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            dataset=data,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=checkpoint),
        randomness=dict(seed=0),
        default_scope='mmseg',
        resume=resume,
        experiment_name=f'{work_dir.name}_{len(list(work_dir.glob("*/")))}',
    )
    try:
        runner.train()
    finally:
        log = '\n'.join(path.read_text() for path in work_dir.glob('*/*.log'))
    return log


def weight(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=False)['state_dict']['layer.weight']  # written a moment ago


def names(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.iterdir() if path.suffix in ('.pth', '.tmp'))


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('undisturbed')
    train(work_dir)
    return work_dir


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')


def test_two_checkpoints_are_kept(undisturbed: Path) -> None:
    assert names(undisturbed) == ['epoch_3.pth', 'epoch_4.pth']
    assert (undisturbed / 'last_checkpoint').read_text() == str(undisturbed / 'epoch_4.pth')


def test_a_full_disk_leaves_the_one_before(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r'no space left in .* for epoch_3\.pth') as error:
        patch.setattr(whole_checkpoint_hook.os, 'fsync', full)
        train(tmp_path)
    assert 'free some, or name a folder on another disk' in str(error.value)
    assert str(error.value).endswith('and the same command with --resume goes on from the newest')
    assert names(tmp_path) == ['epoch_2.pth']
    # As MMEngine's own hook would have left it.
    (tmp_path / 'epoch_3.pth').write_bytes((tmp_path / 'epoch_2.pth').read_bytes()[:-100])
    assert 'resumed epoch: 2' in train(tmp_path, resume=True)
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))
    assert names(tmp_path) == names(undisturbed)


@pytest.mark.parametrize('damage', ['cut short', 'empty note', 'cut short before the note', 'left by a kill'])
def test_resume_takes_the_newest_whole_one(damage: str, undisturbed: Path, tmp_path: Path) -> None:
    for path in undisturbed.glob('*.pth'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    os.utime(tmp_path / 'epoch_3.pth', (1, 1))
    note = tmp_path / 'last_checkpoint'
    note.write_text(str(tmp_path / 'epoch_4.pth'))
    if damage != 'empty note':
        os.truncate(tmp_path / 'epoch_4.pth', 1000)
    if damage == 'empty note':
        note.write_text('')
    elif damage == 'cut short before the note':
        note.write_text(str(tmp_path / 'epoch_3.pth'))
    elif damage == 'left by a kill':
        (tmp_path / 'epoch_4.pth').rename(tmp_path / '.epoch_4.pth.999999999.tmp')
    log = train(tmp_path, resume=True)
    resumed = 4 if damage == 'empty note' else 3
    assert f'resumed epoch: {resumed}' in log
    if damage == 'cut short':
        warning = f'{tmp_path}/epoch_4.pth is cut short or damaged. Taking {tmp_path}/epoch_3.pth'
        assert any('WARNING' in line and warning in line for line in log.splitlines())
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))
    assert names(tmp_path) == names(undisturbed)


@pytest.mark.parametrize('content', [None, b'', b'PK'])
def test_with_nothing_whole_training_begins_anew(content: bytes | None, undisturbed: Path, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / 'epoch_1.pth').write_bytes(content)
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    log = train(tmp_path, resume=True)
    assert 'training begins anew' in log and 'resumed epoch' not in log
    assert (f'{tmp_path}/epoch_1.pth is cut short or damaged' in log) == (content is not None)
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))


def test_a_named_checkpoint_is_left_to_mmengine() -> None:
    """``load_from`` with ``resume`` is a person's own choice."""

    class Named:
        _resume, _load_from = True, 'mine.pth'

    whole_checkpoint_hook.WholeCheckpointHook().before_run(Named)
    assert (Named._resume, Named._load_from) == (True, 'mine.pth')


class Elsewhere(LocalBackend):
    """Somebody's own way of storing files."""

    stored: ClassVar[list[str]] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        self.stored.append(Path(filepath).name)


register_backend('elsewhere', Elsewhere, force=True)


def test_what_is_no_local_folder_is_left_to_mmengine(tmp_path: Path) -> None:
    train(tmp_path, backend_args=dict(backend='elsewhere'))
    assert Elsewhere.stored == [f'epoch_{number}.pth' for number in range(1, EPOCHS + 1)]
    assert names(tmp_path) == []
