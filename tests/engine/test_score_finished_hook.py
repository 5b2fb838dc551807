"""A training stopped while it is scored has all its figures after it is resumed, none twice, and the same best."""

import errno
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from sipe_mmseg.engine import whole_checkpoint_hook

SCORES = {1: 1.0, 2: 3.0, 3: 2.0, 4: 2.5}  # of an epoch: the second is the best
OTHERS = {1: 4.0, 2: 1.0, 3: 5.0, 4: 2.0}
ITERATIONS = 2  # of an epoch


class Line(BaseModel):
    """Draws numbers in training and in scoring."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        if mode == 'loss':
            return {'loss': (self.layer(x) - 1).square().mean()}
        torch.rand(7)
        return [{} for _ in x]


class Stoppable(BaseMetric):
    """Notes the epochs whose weights are scored; may be stopped there."""

    def __init__(self, scored: list[int], stop: int | None) -> None:
        super().__init__()
        self.scored, self.stop, self.runner = scored, stop, None

    def process(self, data_batch: Any, data_samples: Any) -> None:
        if self.stop == self.runner.iter // ITERATIONS:
            raise KeyboardInterrupt
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.scored.append(self.runner.iter // ITERATIONS)
        return {'score': SCORES[self.scored[-1]], 'other': OTHERS[self.scored[-1]]}


class StopInTraining(Hook):
    """Stops in the first iteration of an epoch."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if self.epoch is not None and runner.iter == (self.epoch - 1) * ITERATIONS:
            raise KeyboardInterrupt


def run(
    work_dir: Path,
    by_epoch: bool = True,
    resume: bool = False,
    stop_score: int | None = None,
    stop_training: int | None = None,
    epochs: int = 4,
    val: dict[str, Any] | None = None,
    checkpoint_by_epoch: bool | None = None,
    interval: int | None = None,
    max_keep_ckpts: int = -1,
    save_best: str | list[str] | None = None,
) -> list[int]:
    """Train, scoring every epoch, by epochs or by as many iterations; returns the epochs that were scored."""
    step = 1 if by_epoch else ITERATIONS
    scored: list[int] = []
    metric = Stoppable(scored, stop_score)
    torch.manual_seed(0)
    loader = dict(
        batch_size=2,
        dataset=[dict(x=torch.randn(2)) for _ in range(2 * ITERATIONS)],
        sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    length = dict(max_epochs=epochs) if by_epoch else dict(max_iters=epochs * step)
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=by_epoch, **length, **(val or dict(val_interval=step))),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=[metric],
        default_hooks=dict(
            checkpoint=dict(
                type='WholeCheckpointHook',
                by_epoch=by_epoch if checkpoint_by_epoch is None else checkpoint_by_epoch,
                interval=interval or step,
                save_best=save_best,
                max_keep_ckpts=max_keep_ckpts,
                rule='greater',
            ),
            score_finished=dict(type='ScoreFinishedHook'),
        ),
        custom_hooks=[dict(type='IterationSeedHook'), StopInTraining(stop_training)],
        log_processor=dict(by_epoch=by_epoch),
        randomness=dict(seed=0),
        default_scope='mmseg',
        resume=resume,
        experiment_name=f'scored_{time.monotonic_ns()}',
    )
    metric.runner = runner
    with suppress(KeyboardInterrupt):
        runner.train()
    return scored


def checkpoints(work_dir: Path) -> dict[str, Any]:
    """Weights, optimizer and the best so far of every checkpoint, by name."""
    found = {}
    for path in work_dir.glob('*.pth'):
        content = torch.load(path, weights_only=False)  # written a moment ago
        best = {key: value for key, value in content['message_hub']['runtime_info'].items() if 'best' in key}
        best = {key: Path(value).name if 'ckpt' in key else value for key, value in best.items()}
        weights = [value.tolist() for value in content['state_dict'].values()]
        momentum = [each['momentum_buffer'].tolist() for each in content.get('optimizer', {}).get('state', {}).values()]
        found[path.name] = (best, weights, momentum, content['meta']['epoch'], content['meta']['iter'])
    return found


def logged(work_dir: Path) -> list[tuple[int, float]]:
    """Steps and scores in all logs."""
    lines = [json.loads(line) for path in sorted(work_dir.glob('*/vis_data/scalars.json')) for line in path.open()]
    return [(line['step'], line['score']) for line in lines if 'score' in line]


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')


@pytest.mark.parametrize('save_best', [None, 'score', 'auto', ['score', 'other']])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_stopped_while_it_was_scored(by_epoch: bool, save_best: str | list[str] | None, tmp_path: Path) -> None:
    settings = dict(by_epoch=by_epoch, save_best=save_best)
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    assert run(whole, **settings) == [1, 2, 3, 4]
    assert run(stopped, **settings, stop_score=2) == [1]
    assert run(stopped, **settings, resume=True, stop_training=4) == [2, 3]
    assert run(stopped, **settings, resume=True, stop_score=4) == []
    assert run(stopped, **settings, resume=True) == [4]
    assert checkpoints(stopped) == checkpoints(whole)
    assert logged(stopped) == logged(whole)
    assert len(checkpoints(whole)) == 4 + (0 if save_best is None else 2 if isinstance(save_best, list) else 1)


def test_what_was_scored_is_not_scored_again(tmp_path: Path) -> None:
    assert run(tmp_path, stop_training=3) == [1, 2]
    assert run(tmp_path, resume=True, stop_training=3) == []
    assert run(tmp_path, resume=True, stop_training=4) == [3]
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')  # from which it is trained once more
    assert run(tmp_path, resume=True, stop_score=2) == []
    assert run(tmp_path, resume=True, stop_training=3) == [2]
    assert (tmp_path / 'scored_iterations').read_text() == '2\n4\n'


def test_scores_of_another_training_count_for_nothing(tmp_path: Path) -> None:
    assert run(tmp_path) == [1, 2, 3, 4]
    assert run(tmp_path, stop_score=2) == [1]
    assert run(tmp_path, resume=True, stop_training=3) == [2]
    (tmp_path / 'scored_iterations').write_bytes(b'\0\xff')
    assert run(tmp_path, resume=True, stop_training=3) == [2]


@pytest.mark.parametrize(
    'val', [dict(val_interval=3), dict(val_begin=3, val_interval=1), dict(val_interval=2, dynamic_intervals=[(2, 3)])]
)
def test_what_is_not_to_be_scored_is_not(val: dict[str, Any], tmp_path: Path) -> None:
    assert run(tmp_path, val=val, stop_training=3) == []
    assert run(tmp_path, val=val, resume=True, stop_training=4) == [3]


def test_what_ends_within_an_epoch_is_not_scored(tmp_path: Path) -> None:
    within = dict(checkpoint_by_epoch=False, interval=ITERATIONS + 1)
    assert run(tmp_path, **within, stop_training=3) == [1, 2]
    (tmp_path / 'scored_iterations').unlink()
    assert run(tmp_path, **within, resume=True, stop_score=2) == []


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_end_is_scored_once(by_epoch: bool, tmp_path: Path) -> None:
    assert run(tmp_path, by_epoch, epochs=1, stop_score=1) == []
    assert run(tmp_path, by_epoch, epochs=1, resume=True) == [1]
    assert run(tmp_path, by_epoch, epochs=1, resume=True) == [1]  # a caller waits for its figures


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that kept its best and was not disturbed."""
    work_dir = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.device.utils.DEVICE', 'cpu')
        run(work_dir, save_best='score')
    return work_dir


def test_a_full_disk_leaves_the_best_of_before(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = whole_checkpoint_hook.WholeFileBackend.put

    def full(self: Any, content: bytes, path: str) -> None:
        if Path(path).name == 'best_score_epoch_2.pth':
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, content, path)

    with monkeypatch.context() as patch, pytest.raises(OSError, match='No space left'):
        patch.setattr(whole_checkpoint_hook.WholeFileBackend, 'put', full)
        run(tmp_path, save_best='score')
    assert sorted(checkpoints(tmp_path)) == ['best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']
    assert run(tmp_path, save_best='score', resume=True) == [2, 3, 4]
    assert checkpoints(tmp_path) == checkpoints(whole)


def test_a_kill_before_the_best_of_before_is_removed_leaves_none_too_many(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whole_checkpoint_hook.WholeFileBackend, 'remove', killed)
        run(tmp_path, save_best='score')
    assert {'best_score_epoch_1.pth', 'best_score_epoch_2.pth'} < set(checkpoints(tmp_path))
    run(tmp_path, save_best='score', resume=True)
    assert checkpoints(tmp_path) == checkpoints(whole)


def test_a_copy_removes_nothing_of_the_original(whole: Path, tmp_path: Path) -> None:
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    run(original, save_best='score', stop_score=2)
    shutil.copytree(original, copy)
    run(copy, save_best='score', resume=True)
    assert checkpoints(copy) == checkpoints(whole)
    assert sorted(checkpoints(original)) == ['best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']


@pytest.mark.parametrize('best', ['../best_mine.pth', '..', 'mine.pth', 7])
def test_a_checkpoint_names_no_other_file_to_remove(best: object, tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    run(work_dir, save_best='score', stop_score=2)
    for path in (tmp_path / 'best_mine.pth', work_dir / 'mine.pth', work_dir / 'epoch_.pth'):
        path.touch()
    content = torch.load(work_dir / 'epoch_2.pth', weights_only=False)  # written a moment ago
    named = f'{work_dir}/{best}' if isinstance(best, str) else best
    content['message_hub']['runtime_info'].update(best_ckpt=named, keep_ckpt_ids=['', 1])
    torch.save(content, work_dir / 'epoch_2.pth')
    before = set(tmp_path.rglob('*.pth'))
    assert run(work_dir, save_best='score', max_keep_ckpts=1, epochs=2, resume=True) == [2]
    gone = before - set(tmp_path.rglob('*.pth'))
    assert {path.name for path in gone} == {'epoch_1.pth'}
