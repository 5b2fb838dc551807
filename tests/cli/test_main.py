"""Which command a command line means, its help, and what becomes of mistakes."""

import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import sipe_mmseg
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg_cli import configs
from sipe_mmseg_cli import main as main_module
from sipe_mmseg_cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
WITHOUT_MMCV = """
import importlib.machinery, sys
class WithoutMMCV(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split('.')[0] == 'mmcv' else super().find_spec(name, path, target)
sys.meta_path = [WithoutMMCV if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
from sipe_mmseg_cli.main import main
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds this checkout."""
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    environment = {**os.environ, 'PYTHONPATH': path}
    return subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=False)


def test_help_names_all_commands_and_imports_nothing_heavy() -> None:
    done = run_python(
        'import sys; from sipe_mmseg_cli.main import main; code = main(["--help"]); '
        'sys.exit(code or bool({"torch", "numpy", "mmengine", "sipe_mmseg"} & set(sys.modules)))'
    )
    assert done.returncode == 0, done.stderr
    for name, command in COMMANDS.items():
        assert re.search(rf'^  {name} +{re.escape(command.summary)}$', done.stdout, flags=re.MULTILINE)
    assert 'sipe-mmseg predict work_dirs/' in done.stdout


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capfd: pytest.CaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [])  # which tools of MMSegmentation change
        try:
            code = main([*name.split(), '--help'])
        except SystemExit as stop:
            code = stop.code
    printed = capfd.readouterr().out
    assert not code
    assert f'    sipe-mmseg {name}' in printed
    assert '%(' not in printed


def test_nothing_and_what_is_no_command(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert 'usage: sipe-mmseg COMMAND' in capsys.readouterr().err
    assert main(['evalute', 'x']) == 2
    assert capsys.readouterr().err == "sipe-mmseg: there is no command 'evalute'; did you mean 'evaluate'?\n"
    assert main(['fly']) == 2
    assert 'there are check, configs, ' in capsys.readouterr().err
    for words, code in ((['convert'], 2), (['convert', 'fly'], 2), (['convert', '--help'], 0)):
        assert main(words) == code
        printed = capsys.readouterr()
        assert 'convert checkpoint' in (printed.err if code else printed.out)


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(['--version']) == 0
    assert re.fullmatch(r'\d+\.\d+\.\d+\n', capsys.readouterr().out)


def test_version_of_a_checkout_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr('importlib.metadata.version', not_found)
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'{sipe_mmseg.__version__}\n'


def test_mistakes_are_lines_and_our_own_errors_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (['train', 'sipe_r18_1xb16-6e_shapes'], ['labels', 'sipe_r18_1xb16-6e_shapes', 'x', '--out', 'y']):
        assert main(words) == 1
        assert "did you mean 'sipe_r18_1xb16-6e_shapes-160x160'?" in capsys.readouterr().err
    for words in (['test', 'sipe_r18_1xb16-6e_shapes-160x160', '--tta'], ['overlays', 'voc12', '--out', 'x']):
        assert main(words) == 1
        assert 'name a checkpoint as well' in capsys.readouterr().err
    assert main(['mmseg', 'fly.py']) == 1
    assert 'comes without tools/fly.py' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['evaluate', 'x', '--dataset', 'voc12', '--cfg-options', 'fly'])
    assert "must be KEY=VALUE, such as model.test_cfg.mirror=True, not 'fly'" in capsys.readouterr().err

    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    for device, message in (
        ('cuda', 'torch finds no GPU, and so not cuda;'),
        ('fly', 'must be cpu, cuda or cuda:NUMBER'),
    ):
        with pytest.raises(SystemExit):
            main(['predict', 'run', 'a.jpg', '--device', device])
        assert f'argument --device: {message}' in capsys.readouterr().err

    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(configs, 'main', stop)
    assert main(['configs']) == 130
    assert capsys.readouterr().err == '\nstopped; the same command begins again\n'
    monkeypatch.setattr(configs, 'main', lambda words, prog: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(['configs'])


def test_settings_that_are_no_options_get_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [])
    for words, hint in ((['--epochs', '3', '--resume'], True), (['--launcher', 'fly'], False)):
        with pytest.raises(SystemExit) as stop:
            main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', *words])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert ('--epochs: settings of the config go behind --cfg-options; for another length' in said) == hint


def test_a_work_directory_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'a.jpg').touch()
    for given, named in ((tmp_path / 'a.jpg', tmp_path / 'a.jpg'), (tmp_path / 'a.jpg/run', tmp_path / 'a.jpg')):
        for option in (['--work-dir', str(given)], [f'--work-dir={given}']):
            assert main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', *option]) == 1
            assert capsys.readouterr().err == f'{named} is a file; name a folder\n'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('model.decode_head.alpa=1', "model.decode_head.alpa is 1, but SIPEHead has no 'alpa'; did you mean 'alpha'?"),
        ('train_cfg.max_epoch=3', "train_cfg.max_epoch is 3, but EpochBasedTrainLoop has no 'max_epoch'; did you mean"),
        ('model.type=SIPESegmenter', "model.type is 'SIPESegmenter', but no model is called so; did you mean 'SIPESeg"),
    ],
)
def test_a_misspelt_key_of_a_config_is_a_line(
    change: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.chdir(tmp_path)
    assert main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', '--work-dir', 'run', '--cfg-options', change]) == 1
    assert message in capfd.readouterr().err


def test_errors_inside_tools_of_mmseg_are_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'broken.py').write_text("default_scope = 'mmseg'\nmodel = dict(type='EncoderDecoder')\n")
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match='missing'):
        main(['train', 'broken.py'])


def test_configs_that_scripts_of_mmseg_cannot_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.chdir(tmp_path)
    for name in ('train', 'pipeline', 'check'):
        assert main([name, 'broken.py']) == 1
        printed = capsys.readouterr()
        assert "broken.py, line 1: not Python ('(' was never closed)" in printed.err + printed.out
    assert main(['train', 'shapes']) == 1
    assert 'shapes.py: has no model; it is a pipeline, which `sipe-mmseg pipeline` runs' in capsys.readouterr().err
    assert main(['pipeline', 'sipe_r18_1xb16-6e_shapes-160x160']) == 1
    assert 'is no pipeline, it has no stages; shipped ones are coco14, custom, shapes,' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', '--cfg-options', 'fly'])
    assert 'must be KEY=VALUE' in capsys.readouterr().err
    monkeypatch.setenv('SHAPES_ROOT', 'nowhere')
    assert main(['train', 'sipe_r18_1xb16-6e_shapes-160x160', '--work-dir', 'run']) == 1
    assert 'ImageLevelDataset: ' in capsys.readouterr().err.splitlines()[-1]


def test_a_checkpoint_of_another_number_of_classes_is_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """MMEngine would leave the classifier random, and score that."""
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / 'data/shapes', ShapesSettings(num_train=1, num_val=1, size=64))
    config = Config.fromfile(ROOT / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py')
    torch.save(MODELS.build(config.model).state_dict(), tmp_path / 'six.pth')
    words = ['sipe_r18_1xb16-6e_shapes-160x160', 'six.pth', '--cfg-options', 'model.decode_head.num_classes=4']
    for command in (['test'], ['labels', '--out', 'maps'], ['overlays', '--out', 'drawn']):
        assert main([command[0], *words[:2], *command[1:], *words[2:]]) == 1
        printed = capsys.readouterr().err
        assert 'six.pth does not fit the model of' in printed
        message = printed[printed.index('six.pth does not fit the model of') :]
        assert 'size mismatch for decode_head.classifier.weight: ' in message and len(message.splitlines()) < 10


def test_without_mmcv_the_command_says_what_to_install() -> None:
    done = run_python(f'{WITHOUT_MMCV}sys.exit(main(["labels", "x", "y", "--out", "z"]))')
    assert done.returncode == 1
    assert 'pip install mmcv-lite==2.1.0' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_work_directory_names_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'mine.py').write_text("model = dict(type='SIPESegmentor')\n")
    torch.save({}, tmp_path / 'epoch_3.pth')
    monkeypatch.setattr('sipe_mmseg_cli.test._check_checkpoint', lambda words: None)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    given: list[list[str]] = []
    monkeypatch.setattr('sipe_mmseg.engine.mmseg_tools.run_mmseg_tool', lambda name, words: given.append(words))
    assert main(['test', str(tmp_path), '--tta']) == 0
    assert main(['test', str(tmp_path / 'mine.py'), 'other.pth', '--tta']) == 0
    assert main(['train', str(tmp_path), '--amp']) == 0
    assert main(['train', '--amp', 'mine.py']) == 0  # as MMSegmentation reads it
    assert given == [
        [str(tmp_path / 'mine.py'), str(tmp_path / 'epoch_3.pth'), '--tta'],
        [str(tmp_path / 'mine.py'), 'other.pth', '--tta'],
        [str(tmp_path / 'mine.py'), '--amp'],
        ['--amp', 'mine.py'],
    ]


@pytest.mark.parametrize(
    'path',
    [path for path in sorted((ROOT / 'tools').rglob('*.py')) if 'run_tool' in path.read_text()],
    ids=lambda path: path.stem,
)
def test_files_of_tools_are_commands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple] = []
    monkeypatch.setattr(main_module, 'run_command', lambda *given: started.append(given) or 0)
    monkeypatch.setattr(sys, 'argv', [str(path), 'a', '--b'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name='__main__')
    assert stop.value.code == 0
    ((name, words, prog),) = started
    assert name in COMMANDS and words == ['a', '--b'] and prog == f'python {path}'
    assert f'`sipe-mmseg {name}`' in path.read_text()


def test_nothing_in_the_package_needs_the_command_line() -> None:
    importing = {path.name for path in (ROOT / 'sipe_mmseg').rglob('*.py') if 'sipe_mmseg_cli' in path.read_text()}
    assert importing == {'__main__.py'}


def test_weights_that_cannot_be_downloaded_are_named_with_what_takes_their_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def without_network(name: str, words: list[str]) -> None:
        raise URLError('no network')

    monkeypatch.setattr('sipe_mmseg.engine.mmseg_tools.run_mmseg_tool', without_network)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.delenv('RESNET50_WEIGHTS', raising=False)
    assert main(['train', 'sipe_r50_1xb16-5e_voc12aug-512x512']) == 1
    said = capsys.readouterr().err
    assert 'could not be downloaded: no network' in said
    assert f'torchvision://resnet50: put the file at {tmp_path}' in said
    assert 'RESNET50_WEIGHTS=FILE' in said
