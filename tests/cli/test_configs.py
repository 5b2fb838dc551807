"""Shipped configs: their names, and copies of them that load."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from mmengine.config import Config

from sipe_mmseg.engine.config_lookup import find_config, shipped_names
from sipe_mmseg_cli.main import main

CUSTOM = 'sipe_r50_1xb16-5e_custom-512x512'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_names(capsys: pytest.CaptureFixture) -> None:
    assert main(['configs']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.strip() for line in lines if line.startswith('  ')) == sorted(shipped_names())
    assert [line for line in lines if not line.startswith(' ')][:2] == ['deeplabv2:', 'deeplabv3plus:']
    assert main(['configs', 'shapes']) == 0
    listed = capsys.readouterr().out
    assert 'sipe_r18_1xb16-6e_shapes-160x160' in listed and 'voc12' not in listed
    assert main(['configs', 'fly']) == 1
    assert 'fly: no shipped config has this in its name' in capsys.readouterr().err


@pytest.mark.parametrize('name', shipped_names())
def test_a_flat_copy_says_the_same(name: str, tmp_path: Path) -> None:
    assert main(['configs', name, '--out', 'new/copy.py']) == 0
    copied = Config.fromfile(tmp_path / 'new/copy.py')
    assert copied.to_dict() == Config.fromfile(find_config(name)).to_dict()


def test_a_flat_copy_says_what_it_is(tmp_path: Path) -> None:
    assert main(['configs', CUSTOM, '--out', 'copy.py']) == 0
    header = [line for line in (tmp_path / 'copy.py').read_text().splitlines() if line.startswith('#')]
    assert header[0].startswith(f'# {CUSTOM} ') and 2 < len(header) < 7
    for word in ('metainfo', 'num_classes', 'Environment variables', '--out DIR'):
        assert word in ' '.join(header)


def test_a_folder_gets_the_config_and_what_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert main(['configs', CUSTOM, '--out', 'mine']) == 0
    assert capsys.readouterr().out == f'mine/sipe/{CUSTOM}.py\n'
    found = {str(path.relative_to('mine')) for path in Path('mine').rglob('*.py')}
    assert found == {
        f'sipe/{CUSTOM}.py',
        '_base_/models/sipe_r50.py',
        '_base_/datasets/custom.py',
        '_base_/default_runtime.py',
        '_base_/schedules/schedule_5e.py',
    }
    assert '# Your own images and classes: a template.' in (tmp_path / 'mine/_base_/datasets/custom.py').read_text()
    monkeypatch.setenv('CUSTOM_ROOT', '/my/data')  # which a flat copy has filled in
    assert Config.fromfile(f'mine/sipe/{CUSTOM}.py').train_dataloader.dataset.data_root == '/my/data'


def test_a_copy_that_is_cut_short_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(source: Path, target: Path) -> None:
        target.write_text(source.read_text()[:20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt, SystemExit):
        patch.setattr(shutil, 'copyfile', cut_short)
        main(['configs', CUSTOM, '--out', 'dir'])
    assert not [path for path in tmp_path.glob('dir/**/*') if path.is_file()]
    assert main(['configs', CUSTOM, '--out', 'dir']) == 0


def test_copies_overwrite_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'copy.py').write_text('mine = 1')
    (tmp_path / 'dir/_base_').mkdir(parents=True)
    (tmp_path / 'dir/_base_/default_runtime.py').write_text('mine = 1')
    for out, there in (('copy.py', 'copy.py'), ('dir', 'dir/_base_/default_runtime.py')):
        assert main(['configs', CUSTOM, '--out', out]) == 1
        assert f'{there}: exists already' in capsys.readouterr().err
        assert (tmp_path / there).read_text() == 'mine = 1'
    assert not (tmp_path / 'dir/sipe').exists()
    assert main(['configs', 'copy.py', '--out', 'elsewhere']) == 1
    assert 'copy.py: is no shipped config; --out FILE.py' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['configs', '--out', 'x.py'])
