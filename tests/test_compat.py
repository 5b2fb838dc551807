"""The repairs to the stack: each must work where it is needed, and stay out of the way where it is not."""

import importlib.util
import os
import pickle
import re
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

import sipe_mmseg
from sipe_mmseg import compat

NEEDS_PLACEHOLDER = isinstance(sys.modules.get('mmcv._ext'), compat._OpsPlaceholder)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds this checkout."""
    checkout = Path(sipe_mmseg.__file__).parents[1]
    path = os.pathsep.join([str(checkout), os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True
    )


# Imports ------------------------------------------------------------------------------------------------------------


def test_mmsegmentation_imports_after_the_package():
    result = run_python(
        'import sipe_mmseg, mmseg.apis, mmseg.datasets, mmseg.engine, mmseg.models, mmseg.utils, mmpretrain.models'
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not NEEDS_PLACEHOLDER, reason='mmseg.utils imports without help here')
def test_a_failed_import_of_mmsegmentation_can_be_mended_later():
    result = run_python(
        'try:\n'
        '    import mmseg.utils\n'
        'except ImportError:\n'
        '    import sipe_mmseg, mmseg.utils, mmseg.models\n'
        '    print("mended")\n'
    )
    assert result.stdout.strip() == 'mended', result.stderr


def test_apply_again_changes_nothing():
    loaders = dict(CheckpointLoader._schemes)
    ops_module = sys.modules.get('mmcv._ext')
    compat.apply()
    assert CheckpointLoader._schemes == loaders
    assert sys.modules.get('mmcv._ext') is ops_module


def test_missing_mmcv_names_both_packages():
    result = run_python(
        'import importlib.machinery, sys\n'
        'class WithoutMMCV(importlib.machinery.PathFinder):\n'
        '    @classmethod\n'
        '    def find_spec(cls, name, path=None, target=None):\n'
        '        return None if name.split(".")[0] == "mmcv" else super().find_spec(name, path, target)\n'
        'sys.meta_path = [WithoutMMCV if f is importlib.machinery.PathFinder else f for f in sys.meta_path]\n'
        'import sipe_mmseg\n'
    )
    assert result.returncode == 1
    assert 'ImportError: sipe_mmseg needs MMCV' in result.stderr
    assert 'pip install mmcv-lite==2.1.0' in result.stderr
    assert 'pip install --no-build-isolation mmcv==2.1.0' in result.stderr


# Placeholder of MMCV's operators ------------------------------------------------------------------------------------


@pytest.fixture
def without_ops_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A process in which nobody has put anything in the place of mmcv._ext yet."""
    monkeypatch.setitem(sys.modules, 'mmcv._ext', types.ModuleType('mmcv._ext'))
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    return monkeypatch


@pytest.fixture
def placeholder(without_ops_module: pytest.MonkeyPatch) -> types.ModuleType:
    without_ops_module.setattr(mmseg, '__version__', '1.2.2')
    without_ops_module.setattr(importlib.util, 'find_spec', lambda name: None)
    compat.provide_ops_placeholder()
    return sys.modules['mmcv._ext']


def test_placeholder_operator_says_what_to_install(placeholder: types.ModuleType):
    operator = placeholder.nms
    assert operator.__name__ == 'nms'
    with pytest.raises(ImportError, match=r"'nms'.*mmcv-lite.*pip install --no-build-isolation mmcv==2"):
        operator(torch.zeros(1, 4), torch.zeros(1), iou_threshold=0.5)


def test_placeholder_has_no_special_attributes(placeholder: types.ModuleType):
    assert placeholder.__spec__.loader is None
    for name in ('__path__', '__file__', '__wrapped__'):
        with pytest.raises(AttributeError, match=name):
            getattr(placeholder, name)


@pytest.mark.skipif(not NEEDS_PLACEHOLDER, reason='MMCV has its operators here, or MMSegmentation does without')
def test_mmengine_still_sees_that_the_operators_are_missing():
    from mmengine.utils.dl_utils import mmcv_full_available

    assert not mmcv_full_available()


@pytest.mark.parametrize(('mmseg_version', 'has_operators'), [('1.2.2', True), ('1.4.0', False), ('1.4.2', True)])
def test_no_placeholder_where_none_is_needed(
    without_ops_module: pytest.MonkeyPatch, mmseg_version: str, has_operators: bool
):
    without_ops_module.setattr(mmseg, '__version__', mmseg_version)
    without_ops_module.setattr(importlib.util, 'find_spec', lambda name: object() if has_operators else None)
    compat.provide_ops_placeholder()
    assert 'mmcv._ext' not in sys.modules


# Checkpoints of MMEngine --------------------------------------------------------------------------------------------


class TinyModel(BaseModel):
    """One linear layer, trained to give zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, *rows: torch.Tensor, mode: str = 'tensor') -> Any:
        output = self.layer(torch.stack(rows))
        return {'loss': output.square().mean()} if mode == 'loss' else output


class FourRows(torch.utils.data.Dataset):
    """A data set whose meta information, saved with every checkpoint, is nested as a config's may be."""

    def __init__(self) -> None:
        self.metainfo = {'classes': ('background', 'cat'), 'source': ConfigDict(year=2012)}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((3,), float(index))


def make_runner(work_dir: Path, name: str, epochs: int, **settings: Any) -> Runner:
    return Runner(
        model=TinyModel(),
        work_dir=str(work_dir),
        train_dataloader={'dataset': FourRows(), 'batch_size': 2, 'sampler': {'type': 'DefaultSampler'}},
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        param_scheduler={'type': 'PolyLR', 'end': 10},
        custom_hooks=[{'type': 'EMAHook'}],
        experiment_name=name,
        log_level='ERROR',
        default_scope='mmseg',
        **settings,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner after two epochs of two iterations, with the checkpoints epoch_1.pth and epoch_2.pth."""
    runner = make_runner(tmp_path_factory.mktemp('trained'), 'trained', epochs=2)
    runner.message_hub.update_info('best_score', np.float32(0.25))
    runner.train()
    return runner


def checkpoint_of(runner: Runner) -> str:
    return str(Path(runner.work_dir) / 'epoch_2.pth')


def test_mmengine_checkpoint_comes_back_whole(trained: Runner):
    checkpoint = CheckpointLoader.load_checkpoint(checkpoint_of(trained), map_location='cpu')
    assert checkpoint['meta']['iter'] == 4
    assert checkpoint['meta']['dataset_meta'] == {'classes': ('background', 'cat'), 'source': {'year': 2012}}
    torch.testing.assert_close(checkpoint['ema_state_dict']['module.layer.weight'], trained.model.layer.weight)
    assert checkpoint['message_hub']['runtime_info']['best_score'] == np.float32(0.25)
    losses = checkpoint['message_hub']['log_scalars']['train/loss']
    expected = trained.message_hub.get_scalar('train/loss')
    assert isinstance(losses, HistoryBuffer)
    np.testing.assert_array_equal(losses.data[0], expected.data[0])
    assert losses.statistics('mean', 2) == expected.mean(2)


def test_torch_alone_refuses_mmengine_checkpoints(trained: Runner):
    with pytest.raises(pickle.UnpicklingError):
        torch.load(checkpoint_of(trained))


def test_resume_continues_from_the_checkpoint(trained: Runner, tmp_path: Path):
    runner = make_runner(tmp_path, 'resumed', epochs=3, load_from=checkpoint_of(trained), resume=True)
    runner.train()
    assert runner.iter == 6
    history, _ = runner.message_hub.get_scalar('train/loss').data
    np.testing.assert_array_equal(history[:4], trained.message_hub.get_scalar('train/loss').data[0])


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_numpy_names_of_both_major_versions(tmp_path: Path, module: str):
    path = tmp_path / 'numpy.pth'
    torch.save({'scalar': np.int64(7), 'flags': np.array([True, False]), 'values': np.arange(3.0)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            content = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
            archive.writestr(name, content.replace(b'numpy.core.multiarray', module.encode()))
    loaded = compat.load_local_checkpoint(str(path))
    assert loaded['scalar'] == 7
    np.testing.assert_array_equal(loaded['flags'], [True, False])
    np.testing.assert_array_equal(loaded['values'], [0.0, 1.0, 2.0])


@pytest.mark.parametrize('zip_format', [True, False])
def test_plain_weights_in_both_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_format: bool):
    torch.save({'net': {'weight': torch.arange(6.0)}}, tmp_path / 'w.pth', _use_new_zipfile_serialization=zip_format)
    monkeypatch.setenv('HOME', str(tmp_path))
    loaded = compat.load_local_checkpoint('~/w.pth', map_location=torch.device('cpu'))
    torch.testing.assert_close(loaded['net']['weight'], torch.arange(6.0))


def test_allow_list_is_lifted_after_loading(trained: Runner):
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([HistoryBuffer])
    try:
        compat.load_local_checkpoint(checkpoint_of(trained))
        assert set(torch.serialization.get_safe_globals()) == {*before, HistoryBuffer}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


# Files that are no checkpoints --------------------------------------------------------------------------------------


def write_text(path: Path) -> None:
    path.write_text('backbone: resnet50\n')


def write_nothing(path: Path) -> None:
    path.write_bytes(b'')


def write_other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'no weights here')


def write_array(path: Path) -> None:
    with path.open('wb') as file:
        np.save(file, np.zeros(3))


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({'weight': 1}))


def write_cut_archive(path: Path) -> None:
    torch.save({'weight': torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    'write', [write_text, write_nothing, write_other_archive, write_array, write_pickle, write_cut_archive]
)
def test_no_checkpoint(tmp_path: Path, write: Any):
    path = tmp_path / 'model.pth'
    write(path)
    with pytest.raises(ValueError, match=rf'{path}.*not a PyTorch checkpoint.*found {path.stat().st_size} bytes'):
        CheckpointLoader.load_checkpoint(str(path))


def test_cut_short_in_the_old_format(tmp_path: Path):
    path = tmp_path / 'model.pth'
    torch.save({'weight': torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for size in (20, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match=str(path)):
            CheckpointLoader.load_checkpoint(str(path))


@pytest.mark.parametrize('name', ['missing.pth', '.'])
def test_missing_file(tmp_path: Path, name: str):
    path = os.path.join(tmp_path, name)
    with pytest.raises(FileNotFoundError, match=path):
        CheckpointLoader.load_checkpoint(path)


# Where the repair is not needed -------------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['2.5.1+cu121', '2.6.0', '2.9.1'])
def test_a_torch_that_hostile_checkpoints_get_the_better_of(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(torch, '__version__', version)
    with pytest.raises(ImportError, match=rf'needs torch 2\.10 or later, and {re.escape(version)} is installed'):
        compat.apply()


def test_custom_statistics_need_the_users_permission(tmp_path: Path):
    """A user's own class in a checkpoint is refused with a way out, and loads once the user has allowed it."""
    path = tmp_path / 'own.pth'
    hub = MessageHub('own')
    hub.update_info('when', Permitted(3))
    torch.save({'message_hub': hub.state_dict()}, path)
    with pytest.raises(pickle.UnpicklingError, match=r'Permitted.*add_safe_globals'):
        compat.load_local_checkpoint(str(path))
    with torch.serialization.safe_globals([Permitted]):
        loaded = compat.load_local_checkpoint(str(path))
    assert loaded['message_hub']['runtime_info']['when'].value == 3


class Permitted:
    """A record of a user's own."""

    def __init__(self, value: int) -> None:
        self.value = value
