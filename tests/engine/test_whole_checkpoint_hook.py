"""Stops and full disks while a checkpoint is written, and what a resumed training makes of them."""

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from sipe_mmseg.datasets.atomic_write import temporary_name
from sipe_mmseg.engine import whole_checkpoint_hook
from sipe_mmseg.engine.checkpoint_contents import UnreadableError
from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint
from sipe_mmseg.engine.config_lookup import shipped_configs

EPOCHS = 4


class Line(BaseModel):
    """The smallest model that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
        return {'loss': (self.layer(x) - y).square().mean()}


def train(
    work_dir: Path,
    resume: bool = False,
    load_from: Path | None = None,
    epochs: int = EPOCHS,
    hooks: Sequence[Hook] = (),
    dataset: type = list,
    **hook: Any,
) -> str:
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
            dataset=dataset(data),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=list(hooks),
        randomness=dict(seed=0),
        default_scope='mmseg',
        resume=resume,
        load_from=None if load_from is None else str(load_from),
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}_{time.monotonic_ns()}',
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
        patch.setattr(os, 'fsync', full)
        train(tmp_path)
    assert 'free some, or name a folder on another disk' in str(error.value)
    assert str(error.value).endswith('and the same command with --resume goes on from the newest')
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    # As MMEngine's own hook would have left it.
    (tmp_path / 'epoch_3.pth').write_bytes((tmp_path / 'epoch_2.pth').read_bytes()[:-100])
    assert 'resumed epoch: 2' in train(tmp_path, resume=True)
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))
    assert names(tmp_path) == names(undisturbed)


class Refuse(Hook):
    """Let no second checkpoint be written, as a full disk or ``FiniteLossHook`` do."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.epoch == 1:
            raise ValueError('refused')


def test_the_old_one_is_there_until_the_new_one_is(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='refused'):
        train(tmp_path, hooks=[Refuse()], max_keep_ckpts=1)
    assert names(tmp_path) == ['epoch_1.pth']
    assert 'resumed epoch: 1' in train(tmp_path, resume=True, max_keep_ckpts=1)
    assert names(tmp_path) == ['epoch_4.pth']
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))


@pytest.mark.parametrize('limit', [1, 2])
def test_a_kill_before_the_old_one_is_removed_leaves_none_too_many(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(whole_checkpoint_hook.WholeFileBackend, 'remove', killed)
        train(tmp_path, max_keep_ckpts=limit)
    assert len(names(tmp_path)) == limit + 1
    train(tmp_path, resume=True, max_keep_ckpts=limit)
    assert names(tmp_path) == [f'epoch_{number}.pth' for number in range(EPOCHS - limit + 1, EPOCHS + 1)]


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
        (tmp_path / 'epoch_4.pth').rename(tmp_path / temporary_name('epoch_4.pth', 999999999))
    log = train(tmp_path, resume=True)
    resumed = 4 if damage == 'empty note' else 3
    assert f'resumed epoch: {resumed}' in log
    if damage == 'cut short':
        warning = f'{tmp_path}/epoch_4.pth is cut short or damaged. Taking {tmp_path}/epoch_3.pth'
        assert any('WARNING' in line and warning in line for line in log.splitlines())
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))
    assert names(tmp_path) == names(undisturbed)


def test_a_clock_that_was_set_back_hides_no_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    """Numbers tell what is newest in one training, resumed or not; times tell it from one before."""
    train(tmp_path, epochs=2, max_keep_ckpts=3)
    train(tmp_path, resume=True, max_keep_ckpts=3)
    for number, written in ((2, 300), (3, 200), (4, 100)):
        os.utime(tmp_path / f'epoch_{number}.pth', (written, written))
    (tmp_path / 'last_checkpoint').write_text('')
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_4.pth'
    os.truncate(tmp_path / 'epoch_4.pth', 1000)
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_3.pth'
    (tmp_path / 'epoch_3.pth').write_bytes((undisturbed / 'epoch_3.pth').read_bytes())  # of another training
    os.utime(tmp_path / 'epoch_3.pth', (200, 200))
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'


def test_with_nothing_there_training_begins_anew(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / temporary_name('epoch_1.pth', 999999999)).write_bytes(b'PK')  # killed while it was written
    log = train(tmp_path, resume=True)
    assert 'training begins anew' in log and 'resumed epoch' not in log
    assert torch.equal(weight(tmp_path / 'epoch_4.pth'), weight(undisturbed / 'epoch_4.pth'))


@pytest.mark.parametrize('name', ['epoch_1.pth', 'best_mIoU_epoch_1.pth', 'ckpt_1.pth', 'step_1.ckpt'])
def test_training_does_not_begin_anew_over_what_is_damaged(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b'PK')
    with pytest.raises(FileNotFoundError, match='to go on from') as error:
        train(tmp_path, resume=True, filename_tmpl='step_{}.ckpt')
    assert f'--cfg-options load_from=FILE, of this folder), or begin anew: move away what is there, {name}' in str(
        error.value
    )
    assert len(list(tmp_path.glob('*_1.*'))) == 1 and not (tmp_path / 'last_checkpoint').exists()
    assert (tmp_path / name).read_bytes() == b'PK'


def test_training_does_not_begin_anew_where_a_note_is_left(tmp_path: Path) -> None:
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    with pytest.raises(FileNotFoundError, match=r'nor epoch_1\.pth beside it: .* move away what is there, last_checkp'):
        train(tmp_path, resume=True)


@pytest.mark.parametrize('out_dir', [None, 'big disk'])
@pytest.mark.parametrize('damage', ['cut short', 'empty note'])
def test_checkpoints_of_other_names_and_places_are_found(out_dir: str | None, damage: str, tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    place = work_dir if out_dir is None else tmp_path / out_dir / 'run'
    settings = dict(filename_tmpl='ckpt_{}.pth', out_dir=None if out_dir is None else str(tmp_path / out_dir))
    train(work_dir, epochs=3, **settings)
    assert names(place) == ['ckpt_2.pth', 'ckpt_3.pth']
    if damage == 'cut short':
        os.truncate(place / 'ckpt_3.pth', 1000)
    else:
        (work_dir / 'last_checkpoint').write_text('')
    log = train(work_dir, resume=True, **settings)
    assert f'resumed epoch: {2 if damage == "cut short" else 3}' in log
    assert names(place) == ['ckpt_3.pth', 'ckpt_4.pth']


def test_load_from_counts_for_the_first_start_only(undisturbed: Path, tmp_path: Path) -> None:
    """A fine-tuning that is stopped goes on with ``--resume`` from its own checkpoints, as its last line says."""
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    pretrained = undisturbed / 'epoch_3.pth'
    train(whole, load_from=pretrained)
    train(stopped, load_from=pretrained, epochs=2)
    log = train(stopped, load_from=pretrained, resume=True)
    assert 'resumed epoch: 2' in log
    assert f'Going on from {stopped}/epoch_2.pth: load_from={pretrained} counts for the first start only' in log
    assert torch.equal(weight(stopped / 'epoch_4.pth'), weight(whole / 'epoch_4.pth'))


def test_load_from_is_resumed_where_there_is_nothing_else(undisturbed: Path, tmp_path: Path) -> None:
    log = train(tmp_path, load_from=undisturbed / 'epoch_3.pth', resume=True)
    assert 'resumed epoch: 3' in log and f'training goes on from {undisturbed}/epoch_3.pth, with its optimizer' in log


def test_a_checkpoint_of_this_work_directory_may_be_named(undisturbed: Path, tmp_path: Path) -> None:
    for path in undisturbed.glob('*.pth'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / 'last_checkpoint').write_text('epoch_4.pth')
    log = train(tmp_path, load_from=tmp_path / 'epoch_3.pth', resume=True)
    assert 'resumed epoch: 3' in log
    for path in undisturbed.glob('*.pth'):
        os.truncate(tmp_path / path.name, 1000)
    (tmp_path / 'mine.pth').write_bytes((undisturbed / 'epoch_4.pth').read_bytes())
    assert 'resumed epoch: 4' in train(tmp_path, load_from=tmp_path / 'mine.pth', resume=True)
    with pytest.raises(FileNotFoundError, match='name the checkpoint'):
        train(tmp_path, load_from=undisturbed / 'epoch_3.pth', resume=True)


def test_all_processes_hear_of_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one looks, and the others must not wait for it in vain."""
    (tmp_path / 'epoch_1.pth').touch()
    sent: list[Any] = []
    monkeypatch.setattr(whole_checkpoint_hook, 'broadcast_object_list', lambda decided: sent.extend(decided))
    with pytest.raises(FileNotFoundError):
        train(tmp_path, resume=True)
    assert type(sent[0]) is FileNotFoundError
    monkeypatch.setattr(whole_checkpoint_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(whole_checkpoint_hook, 'broadcast_object_list', lambda decided: decided.__setitem__(0, sent[0]))
    with pytest.raises(FileNotFoundError):
        train(tmp_path, resume=True)


class Rows(list):
    """A data set with something to say of itself."""

    metainfo: ClassVar[dict[str, Any]] = {'classes': np.array(['a', 'b'])}


class Counts(Hook):
    """Counts iterations, and puts something into checkpoints."""

    def __init__(self, put: object) -> None:
        self.put, self.iterations = put, 0

    def after_train_iter(self, *given: Any, **named: Any) -> None:
        self.iterations += 1

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['mine'] = self.put


def test_what_no_checkpoint_may_hold_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, dataset=Rows, epochs=2)
    assert 'resumed epoch: 2' in train(tmp_path, dataset=Rows, resume=True)
    monkeypatch.setitem(Rows.metainfo, 'root', tmp_path)
    counts = Counts(None)
    with pytest.raises(UnreadableError, match=r'  meta\.dataset_meta\.root: pathlib\.PosixPath'):
        train(tmp_path / 'new', dataset=Rows, hooks=[counts])
    assert counts.iterations == 0


def test_what_a_hook_puts_into_a_checkpoint_is_tried_with_the_first(tmp_path: Path) -> None:
    counts = Counts({'seen': frozenset()})
    with pytest.raises(UnreadableError, match=r'  mine\.seen: builtins\.frozenset'):
        train(tmp_path, hooks=[counts])
    assert counts.iterations == 2 and names(tmp_path) == []


class Elsewhere(LocalBackend):
    """Somebody's own way of storing files."""

    stored: ClassVar[list[str]] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        self.stored.append(Path(filepath).name)


register_backend('elsewhere', Elsewhere, force=True)


def test_what_is_no_local_folder_is_left_to_mmengine(tmp_path: Path) -> None:
    train(tmp_path, epochs=3, backend_args=dict(backend='elsewhere'))
    with pytest.raises(FileNotFoundError, match=r'/epoch_3\.pth'):  # named by the note, for MMEngine to load
        train(tmp_path, resume=True, backend_args=dict(backend='elsewhere'))
    (tmp_path / 'last_checkpoint').unlink()
    Elsewhere.stored.clear()
    train(tmp_path, resume=True, backend_args=dict(backend='elsewhere'))
    assert Elsewhere.stored == [f'epoch_{number}.pth' for number in range(1, EPOCHS + 1)]
    assert names(tmp_path) == []
