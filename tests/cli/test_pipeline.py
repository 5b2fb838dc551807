"""The pipeline's command line: its options, and what a person is told."""

from pathlib import Path

import pytest
from mmengine.config import Config

from sipe_mmseg.engine.pipeline import Pipeline, read_stages
from sipe_mmseg_cli import pipeline
from sipe_mmseg_cli.arguments import parse_changes
from sipe_mmseg_cli.main import main

ROOT = Path(__file__).parents[2]


def run(*words):
    return main(['pipeline', *map(str, words)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tool.py').write_text("import sys; open(sys.argv[1], 'w').write('there')")
    (tmp_path / 'pipeline.py').write_text(
        "work_dir = 'w'\nmore = []\nstages = [dict(name=name, run='tool.py {work_dir}/' + name + ' {more}', "
        "makes=['{work_dir}/' + name]) for name in ('a', 'b')]\n"
    )
    return tmp_path


def test_list_shows_what_was_made_with_other_settings(place, monkeypatch, capsys):
    assert run('pipeline.py', '--only', 'a') == 0
    capsys.readouterr()
    assert run('pipeline.py', '--list', '--cfg-options', 'more=[x]') == 0
    listed = capsys.readouterr().out
    assert 'a (changed)\n$ python tool.py w/a x\n' in listed
    assert 'b (to do)\n' in listed
    assert run('pipeline.py', '--list', '--skip', 'b') == 0
    listed = capsys.readouterr().out
    assert 'a (done)\n' in listed
    assert 'b (left out)\n' in listed


def test_a_stage_named_by_only_runs_again_over_its_own_results(place, monkeypatch, capsys):
    assert run('pipeline.py') == 0
    Path('w/a').write_text('changed')
    assert run('pipeline.py') == 0
    assert Path('w/a').read_text() == 'changed'
    assert run('pipeline.py', '--only', 'a') == 0
    assert Path('w/a').read_text() == 'there'
    capsys.readouterr()
    assert run('pipeline.py', '--list') == 0
    assert '(to do)' not in capsys.readouterr().out


def test_other_spellings_of_the_folder_are_the_same_run(place, monkeypatch, capsys):
    assert run('pipeline.py', '--work-dir', 'out') == 0
    capsys.readouterr()
    for spelling in ('out/', './out', 'more/../out'):
        assert run('pipeline.py', '--work-dir', spelling, '--list') == 0
        assert capsys.readouterr().out.count('(done)') == 2


@pytest.mark.parametrize(('moved', 'message'), [(False, 'the same command'), (True, 'the same command without --redo')])
def test_ctrl_c_between_stages_is_one_line(place, monkeypatch, capsys, moved, message):
    assert run('pipeline.py') == 0

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, 'write_summary' if moved else 'check', stop)
    capsys.readouterr()
    assert run('pipeline.py', '--redo', 'a') == 130
    assert capsys.readouterr().err == f'\nstopped; {message} goes on from here\n'
    assert Path('w/a.old').exists() == moved


def test_ctrl_c_while_reading_the_config(place, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Config, 'fromfile', stop)
    assert run('pipeline.py') == 130
    assert capsys.readouterr().err == '\nstopped; nothing was run\n'


def test_no_work_dir(place, monkeypatch, capsys):
    Path('pipeline.py').write_text("stages = [dict(name='a', run='tool.py a')]\n")
    assert run('pipeline.py') == 1
    assert (
        'pipeline.py: has no work_dir, the folder of all results; name one with --work-dir' in capsys.readouterr().err
    )


def test_the_example_of_the_help_reaches_the_command(monkeypatch, capsys):
    """The option is read as the docstring has it, and the stage's own tool takes it for what it says."""
    monkeypatch.chdir(ROOT)
    option = 'irn_options=[--cfg-options,train_cfg.max_epochs=10]'
    assert f"--cfg-options '{option}'" in pipeline.__doc__
    config = Config.fromfile('configs/pipelines/voc12.py')
    config.merge_from_dict(parse_changes(pipeline.parse_args(['x.py', '--cfg-options', option], 'prog').cfg_options))
    stage = next(stage for stage in read_stages(config) if stage.name == 'train_irn')
    assert stage.words[-2:] == ('--cfg-options', 'train_cfg.max_epochs=10')
