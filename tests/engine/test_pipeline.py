"""Pipelines: what a config's stages become, what runs again and what does not, and what a person is told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.config import Config

from sipe_mmseg.datasets.folder_lock import folder_lock
from sipe_mmseg.engine import pipeline as pipeline_module
from sipe_mmseg.engine.pipeline import Pipeline, Stage, read_stages

# Appends its name to a log and writes its inputs, joined, into its output.
TOOL = """
import os, sys
name, output, *inputs = sys.argv[1:]
with open('log', 'a') as file:
    file.write(name + ' ')
if os.environ.get('FAIL') == name:
    sys.exit(3)
text = ''.join(open(path).read() for path in inputs) + name
open(output, 'w').write(text)
open(output + '.json', 'w').write('{"mIoU": %d, "IoU": {"cat": 1}}' % len(text))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tool.py').write_text(TOOL)
    (tmp_path / 'data').write_text('data')
    return tmp_path


def chain(**changes):
    """a -> b -> c, and d from a."""
    stages = [
        dict(name='a', run='tool.py a {work_dir}/a {data}', needs=['{data}'], makes=['{work_dir}/a']),
        dict(name='b', run='tool.py b {work_dir}/b {work_dir}/a', needs=['{work_dir}/a'], makes=['{work_dir}/b']),
        dict(
            name='c',
            run='tool.py c {work_dir}/c {work_dir}/b',
            needs=['{work_dir}/b'],
            makes=['{work_dir}/c'],
            figures='{work_dir}/c.json',
            title='the end',
        ),
        dict(name='d', run='tool.py d {work_dir}/d {work_dir}/a', needs=['{work_dir}/a'], makes=['{work_dir}/d']),
    ]
    return {'work_dir': 'w', 'data': 'data', 'stages': stages, **changes}


def run(config, chosen='abcd', **options):
    said = []
    pipeline = Pipeline(read_stages(config), config['work_dir'], say=said.append)
    pipeline.run(list(chosen), **options)
    return pipeline, ''.join(said)


def ran():
    log = Path('log').read_text().split() if Path('log').exists() else []
    Path('log').write_text('')
    return ''.join(log)


class TestReadStages:
    def test_variables_lists_and_repetition(self):
        config = dict(
            root='/data/{kind}',
            kind='voc',
            words=['--flag', 'x={root}'],
            none=[],
            labels=dict(cam='{root}/cam', true='/masks'),
            stages=[
                dict(
                    name='train_{key}',
                    for_each='labels',
                    run="tools/train.py {kind}.py {words} {none} 'two words'",
                    env=dict(LABELS='{value}', NUMBER=3),
                    needs=['{words}', '{value}'],
                    makes=['out/{key}'],
                )
            ],
        )
        first, second = read_stages(config)
        assert first.words == ('tools/train.py', 'voc.py', '--flag', 'x=/data/voc', 'two words')
        assert first.env == {'LABELS': '/data/voc/cam', 'NUMBER': '3'}
        assert first.needs == ('--flag', 'x=/data/voc', '/data/voc/cam')
        assert (second.name, second.makes) == ('train_true', ('out/true',))

    @pytest.mark.parametrize(
        ('stages', 'message'),
        [
            ([dict(name='a')], 'stages, number 1: has name; a stage has name and run'),
            ([dict(name='a', run='x', need=['y'])], 'stages, number 1: has name, need, run'),
            ([dict(name='a', run='x {nothing}')], "stage a: 'x?.*nothing.*' names a variable that is not there"),
            ([dict(name='a', run='x'), dict(name='a', run='y')], 'the name a is there twice'),
            ([], 'the config has no stages'),
            ([dict(name='a', run='x {loop}')], "stage a: 'x?.*{loop}' names a variable that is made of itself"),
            ([dict(name='a', run='x {ping}')], 'made of itself'),
            ([dict(name='{key}', run='x', for_each='nothing')], "stage {key}: for_each is 'nothing'; it should name"),
            (
                [dict(name='{key}', run='x', for_each='text')],
                "for_each is 'text'; .* a variable of the config that is a",
            ),
            ([dict(name='a', run='x', needs='data')], "stage a: needs is 'data'; it should be a list"),
            ([dict(name='a', run='x', makes='data')], "stage a: makes is 'data'; it should be a list"),
            ([dict(name='a', run='x', modules='json')], "stage a: modules is 'json'; it should be a list"),
        ],
    )
    def test_mistakes(self, stages, message):
        with pytest.raises(ValueError, match=message):
            read_stages(dict(stages=stages, text='text', loop='{loop} more', ping='{pong}', pong='{ping}'))

    def test_in_figures_a_variable_is_no_pattern(self):
        config = dict(work_dir='w[1]', stages=[dict(name='a', run='x {work_dir}', figures='{work_dir}/*.json')])
        stage = read_stages(config)[0]
        assert stage.words == ('x', 'w[1]')
        assert stage.figures == 'w[[]1]/*.json'

    def test_a_stage_depends_on_whoever_writes_what_it_reads(self):
        train = Stage('train', ('x',), makes=('w/train',))
        assert Stage('test', ('x',), needs=('w/train/last',)).depends_on(train)
        assert Stage('test', ('x',), needs=('w/train',)).depends_on(train)
        assert not Stage('test', ('x',), needs=('w/train2',)).depends_on(train)


class TestRun:
    def test_runs_all_in_order_and_nothing_twice(self, place):
        pipeline, said = run(chain())
        assert ran() == 'abcd'
        assert Path('w/c').read_text() == 'dataabc'
        assert '[2/4] b\n$ python tool.py b w/b w/a' in said
        summary = json.loads(Path('w/summary.json').read_text())
        assert summary['c']['figures'] == {'mIoU': 7}
        assert '| c | the end | 7.0 |' in pipeline.table()
        run(chain())
        assert ran() == ''

    def test_goes_on_after_a_failure(self, place, monkeypatch):
        monkeypatch.setenv('FAIL', 'b')
        with pytest.raises(RuntimeError, match=r'stage b failed with exit code 3.*goes on from here'):
            run(chain())
        assert ran() == 'ab'
        monkeypatch.delenv('FAIL')
        run(chain())
        assert ran() == 'bcd'

    def test_a_result_that_is_gone_is_made_again(self, place):
        run(chain())
        ran()
        Path('w/b').unlink()
        run(chain())
        assert ran() == 'b'

    def test_other_settings_are_an_error_until_redone(self, place):
        run(chain())
        ran()
        config = chain()
        config['stages'][1]['run'] += ' {data}'
        with pytest.raises(ValueError, match='stage b was begun with other settings') as caught:
            run(config)
        assert 'command: was tool.py b w/b w/a, now tool.py b w/b w/a data' in str(caught.value)
        assert '--redo b moves its results aside' in str(caught.value)
        assert ran() == ''
        _, said = run(config, redo=['b'])
        assert ran() == 'bc'  # d does not depend on b
        assert Path('w/b.old').read_text() == 'dataab'
        assert Path('w/c').read_text() == 'dataadatabc'
        assert 'w/b is now w/b.old' in said
        run(config, redo=['b'])
        assert Path('w/b.old2').exists()

    def test_a_change_in_a_config_is_noticed_through_its_base(self, place):
        Path('base.py').write_text('x = 1\n')
        Path('child.py').write_text("_base_ = './base.py'\n")
        config = chain()
        config['stages'][0]['run'] = 'tool.py a {work_dir}/a child.py'
        run(config)
        ran()
        run(config)
        assert ran() == ''
        Path('base.py').write_text('x = 2\n')
        with pytest.raises(ValueError, match='stage a was begun with other settings'):
            run(config)

    def test_inputs_are_checked_before_the_first_stage(self, place):
        config = chain(data='elsewhere')
        config['stages'][2]['needs'].append('weights.pth')
        with pytest.raises(FileNotFoundError) as caught:
            run(config)
        assert str(caught.value) == (
            'not there:\n  elsewhere, which a reads\n  weights.pth, which c reads\n'
            f'Paths are relative to the working directory, {place}; tools and configs may also be those that are '
            'installed'
        )
        assert ran() == ''

    def test_scripts_configs_and_modules_are_checked_before_the_first_stage(self, place):
        config = chain()
        config['stages'][1]['run'] = 'toool.py b {work_dir}/b {work_dir}/a'
        config['stages'][2]['run'] += ' configs/typo.py x=y.py'
        config['stages'][2]['modules'] = ['json', 'pydensecrf', 'no_such.module']
        config['stages'][3]['run'] = 'no-such-program d'
        installed = pipeline_module._is_installed
        with pytest.MonkeyPatch.context() as patch, pytest.raises(FileNotFoundError) as caught:
            patch.setattr(pipeline_module, '_is_installed', lambda name: name != 'pydensecrf' and installed(name))
            run(config)
        assert str(caught.value).splitlines()[1:-1] == [
            '  the Python module pydensecrf, which c needs: pip install pydensecrf2==1.1 (a C++ compiler, and '
            'Python 3.12 or older)',
            '  the Python module no_such.module, which c needs: install the package that it is in',
            '  toool.py, which b runs',
            '  configs/typo.py, which c runs',
            '  no-such-program, which d runs',
        ]
        assert ran() == ''
        # What is not run need not be there, nor what an earlier stage makes.
        config['stages'][0]['makes'].append('toool.py')
        Path('toool.py').write_text(TOOL)
        run(config, 'ab')
        assert ran() == 'ab'

    def test_a_later_stage_alone_wants_the_earlier_ones_done(self, place, monkeypatch):
        with pytest.raises(FileNotFoundError, match='w/a, which b reads: run the stage a first'):
            run(chain(), 'b')
        run(chain(), 'a')
        monkeypatch.setenv('FAIL', 'b')
        with pytest.raises(RuntimeError):
            run(chain(), 'b')
        Path('w/b').write_text('half done')
        with pytest.raises(FileNotFoundError, match='w/b, which c reads: run the stage b first'):
            run(chain(), 'c')
        run(chain(), 'd')
        assert ran() == 'abd'

    def test_content_of_a_file_as_a_word(self, place):
        Path('name').write_text('w/e\n')
        config = chain()
        config['stages'][0]['run'] = 'tool.py a @name data'
        config['stages'][0]['makes'] = ['w/e']
        _, said = run(config, 'a')
        assert Path('w/e').read_text() == 'dataa'
        assert 'python tool.py a "$(cat name)" data' in said
        Path('name').unlink()
        Path('w/e').unlink()
        with pytest.raises(FileNotFoundError, match='stage a: there is no name'):
            run(config, 'a')

    def test_a_stage_that_does_not_make_what_it_should(self, place):
        config = chain()
        config['stages'][0]['makes'].append('w/more')
        with pytest.raises(RuntimeError, match='stage a ended well, but did not make w/more'):
            run(config)
        config = chain()
        config['stages'][3]['figures'] = 'w/no.json'
        with pytest.raises(RuntimeError, match=r'stage d ended well, but wrote no figures \(w/no.json\)'):
            run(config, 'ad')

    def test_figures_in_a_folder_with_a_strange_name(self, place):
        Path('w[1]').mkdir()
        config = chain(work_dir='w[1]')
        pipeline, _ = run(config)
        assert pipeline.summary()['c']['figures'] == {'mIoU': 7}

    def test_figures_are_there_after_each_stage_and_after_a_failure(self, place, monkeypatch):
        monkeypatch.setenv('FAIL', 'd')
        with pytest.raises(RuntimeError, match='stage d failed'):
            run(chain())
        assert json.loads(Path('w/summary.json').read_text())['c']['figures'] == {'mIoU': 7}
        assert '| c | the end | 7.0 |' in Path('w/summary.md').read_text()
        # Read by a command in the middle of the run.
        config = chain(work_dir='v')
        config['stages'][3] |= dict(run='tool.py d {work_dir}/d v/summary.json')
        monkeypatch.delenv('FAIL')
        run(config)
        assert '"c"' in Path('v/d').read_text()

    def test_figures_of_other_settings_are_left_out(self, place):
        run(chain())
        config = chain()
        config['stages'][2]['run'] += ' {data}'
        pipeline, _ = run(config, 'a')
        assert list(pipeline.summary()) == ['a', 'b', 'd']
        assert '| c |' not in Path('w/summary.md').read_text()

    def test_states(self, place):
        run(chain(), 'abc')
        config = chain()
        config['stages'][1]['run'] += ' {data}'
        pipeline = Pipeline(read_stages(config), 'w')
        assert [pipeline.state(stage) for stage in pipeline.stages] == ['done', 'changed', 'changed', 'to do']

    def test_a_stage_that_has_made_nothing_takes_any_settings(self, place, monkeypatch):
        monkeypatch.setenv('FAIL', 'b')
        with pytest.raises(RuntimeError, match='stage b failed'):
            run(chain())
        monkeypatch.delenv('FAIL')
        path = Path('w/stages/b.json')
        path.write_text(json.dumps(json.loads(path.read_text()) | {'seconds': 1e6}))
        config = chain()
        config['stages'][1]['run'] += ' {data}'
        pipeline, _ = run(config)
        assert ran() == 'abbcd'
        assert pipeline.summary()['b']['seconds'] < 1e5

    def test_a_record_that_is_none_is_named(self, place):
        run(chain(), 'a')
        for text in ('{', '[]', '{"done": true}'):
            Path('w/stages/a.json').write_text(text)
            with pytest.raises(ValueError, match=r'^w/stages/a.json: not '):
                run(chain(), 'a')

    def test_a_change_in_a_config_is_shown_unless_it_decides_nothing(self, place):
        text = (
            "work_dir = 'x'\nlog_level = 'INFO'\nloader = dict(batch_size={batch}, num_workers={workers})\n"
            "default_hooks = dict(logger=dict(interval={workers}), saver=dict(interval={saver}))\nlong = [('a', 1)]\n"
        )
        config = chain()
        config['stages'][0]['run'] = 'tool.py a {work_dir}/a conf.py'
        Path('conf.py').write_text(text.format(batch=8, workers=4, saver=1))
        run(config)
        ran()
        Path('conf.py').write_text(text.replace('INFO', 'DEBUG').format(batch=8, workers=2, saver=1))
        run(config)
        assert ran() == ''
        Path('conf.py').write_text(text.format(batch=16, workers=2, saver=2))
        with pytest.raises(ValueError) as caught:
            run(config)
        assert str(caught.value).splitlines()[1:-1] == [
            '  config conf.py:',
            '    loader.batch_size: was 8, now 16',
            '    default_hooks.saver.interval: was 1, now 2',
        ]
        with pytest.raises(ValueError, match='  stage a: its settings are others, too'):
            run(config, 'b')

    def test_a_stage_ignores_the_keys_that_it_names(self, place):
        text = 'model = dict(head=dict(channels=8), test_cfg=dict(beta={beta}))\ntest_loader = dict(size={beta})\n'
        config = chain(ignored=['test_*', 'model.test_cfg'])
        for stage in config['stages'][:2]:
            stage['run'] += ' conf.py'
        config['stages'][0]['ignores'] = ['{ignored}']
        Path('conf.py').write_text(text.format(beta=10))
        run(config)
        ran()
        Path('conf.py').write_text(text.format(beta=7))
        assert run(config, 'a')[0].state(read_stages(config)[0]) == 'done'
        assert ran() == ''
        with pytest.raises(ValueError, match=re.escape('    model.test_cfg.beta: was 10, now 7')):
            run(config, 'b')
        Path('conf.py').write_text(text.replace('8', '16').format(beta=10))
        with pytest.raises(ValueError, match=re.escape('    model.head.channels: was 8, now 16')):
            run(config, 'a')

    def test_redo_moves_nothing_until_all_is_in_order(self, place):
        run(chain())
        Path('data').rename('elsewhere')
        with pytest.raises(FileNotFoundError, match='data, which a reads'):
            run(chain(), redo=['a'])
        assert Path('w/a').exists() and not Path('w/a.old').exists()

    def test_redo_of_what_is_left_out_is_an_error(self, place):
        run(chain())
        with pytest.raises(
            ValueError, match=r'--redo b begins b, c anew, but b, c would not be run: choose more stages'
        ):
            run(chain(), 'ad', redo=['b'])
        with pytest.raises(ValueError, match=r'--redo b begins b, c anew, but c would not be run'):
            run(chain(), 'ab', redo=['b'])
        assert not Path('w/b.old').exists()
        ran()
        run(chain(work_dir='v'), 'ab')
        run(chain(work_dir='v'), 'ab', redo=['b'])  # c was never begun
        assert ran() == 'abb'

    def test_the_way_on_after_redo_is_without_it(self, place, monkeypatch):
        run(chain())
        ran()
        monkeypatch.setenv('FAIL', 'c')
        with pytest.raises(
            RuntimeError, match='When that is mended, the same command without --redo goes on from here'
        ):
            run(chain(), redo=['b'])
        monkeypatch.delenv('FAIL')
        run(chain())
        assert ran() == 'bcc'

    def test_one_run_at_a_time(self, place):
        with folder_lock('w', '.pipeline.lock'), pytest.raises(RuntimeError, match='w: another run is at work there'):
            run(chain())


def processes_with(word: str) -> list[int]:
    """Running processes that have a word in their command line."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if word.encode() in path.read_bytes().split(b'\0'):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@contextmanager
def begun_process(*command: str) -> Iterator[subprocess.Popen]:
    """A Python command of a group of its own, from the moment it (or its child) has made a file ``begun``."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and its children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not Path('begun').exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        yield process
    finally:
        process.kill()


@pytest.mark.skipif(sys.platform != 'linux', reason='uses /proc and prctl')
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_nothing_goes_on_behind_a_stopped_pipeline(place, number):
    word = f'sleeper-{os.getpid()}-{number}'
    Path('sleep.py').write_text("import time; open('begun', 'w').close(); time.sleep(600)")
    Path('pipeline.py').write_text(f"work_dir = 'w'\nstages = [dict(name='sleep', run='sleep.py {word}')]\n")
    tool = Path(__file__).parents[2] / 'tools/run_pipeline.py'
    with begun_process(str(tool), 'pipeline.py') as process:
        # Ctrl-C reaches the whole foreground group, the others one process.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=60)
    for _ in range(100):
        left = processes_with(word)
        if not left:
            break
        time.sleep(0.1)
    assert left == []
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert errors.strip().endswith('stage sleep was stopped; the same command goes on from here')


@pytest.mark.skipif(sys.platform != 'linux', reason='uses prctl')
@pytest.mark.slow
def test_what_a_killed_launcher_leaves_behind_keeps_others_out(place):
    """A shell script does not take its children along: until they have ended, nobody else may write there."""
    Path('launch.sh').write_text('sleep 600 & echo $! > child; touch begun; wait')
    Path('pipeline.py').write_text("work_dir = 'w'\nstages = [dict(name='sleep', run='bash launch.sh')]\n")
    tool = Path(__file__).parents[2] / 'tools/run_pipeline.py'
    with begun_process(str(tool), 'pipeline.py') as process:
        process.kill()
        process.wait(timeout=60)
    child = int(Path('child').read_text())
    try:
        with pytest.raises(RuntimeError, match='w: another run is at work there'):
            run(Config.fromfile('pipeline.py'), ['sleep'])
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != 'linux', reason='uses prctl')
def test_workers_end_with_a_killed_launcher(place):
    word = f'worker-{os.getpid()}'
    Path('worker.py').write_text(
        'import time; from sipe_mmseg.engine.processes import end_with_parent; end_with_parent(); '
        "open('begun', 'w').close(); time.sleep(600)"
    )
    Path('launcher.py').write_text(
        f"import subprocess, sys; subprocess.run([sys.executable, 'worker.py', '{word}'], start_new_session=True)"
    )
    with begun_process('launcher.py') as process:
        assert processes_with(word)
        process.kill()
        process.wait(timeout=60)
    for _ in range(100):
        if not processes_with(word):
            break
        time.sleep(0.1)
    assert processes_with(word) == []


def test_a_killed_command_is_called_that(place):
    Path('tool.py').write_text('import os, signal; os.kill(os.getpid(), signal.SIGKILL)')
    with pytest.raises(RuntimeError, match='stage a was killed, by hand or by the system because memory ran out'):
        run(chain(), 'a')


CHILD = """
import signal, time
def hit(number, _):
    open('hit', 'a').write(f'{number} ')
    raise SystemExit(1)
signal.signal(signal.SIGINT, hit)
signal.signal(signal.SIGTERM, hit)
open('begun', 'w').close()
time.sleep(60)
"""


@pytest.mark.parametrize(('sent', 'received'), [(1, '2 '), (2, '15 ')])
@pytest.mark.slow
def test_an_interrupt_of_the_runner_alone_reaches_the_command(place, sent, received):
    Path('child.py').write_text(CHILD)
    Path('runner.py').write_text(
        'import sys; from sipe_mmseg.engine import pipeline\n'
        f'pipeline._SECONDS_TO_END = {0.2 if sent == 1 else 60}\n'
        "print(pipeline._run_child([sys.executable, 'child.py'], {}, 0))"
    )
    with begun_process('runner.py') as process:
        for _ in range(sent):
            os.kill(process.pid, signal.SIGINT)
            time.sleep(1)  # Popen.wait takes two within a quarter of a second for one
        said, _ = process.communicate(timeout=60)
    assert Path('hit').read_text() == received
    assert said.splitlines()[-1] == str(-signal.SIGINT)  # the onedl fork has something to say first


SHIPPED = sorted((Path(__file__).parents[2] / 'configs/pipelines').glob('*.py'))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_pipelines_name_files_that_are_there(path):
    root = Path(__file__).parents[2]
    for stage in read_stages(Config.fromfile(path)):
        assert (root / stage.words[0]).is_file()
        for word in stage.words:
            assert not word.startswith('configs/') or (root / word).is_file(), word
        assert '{' not in ' '.join([*stage.words, *stage.env.values(), *stage.needs, *stage.makes, stage.figures])


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_pipelines_run_their_networks_on_several_gpus(path):
    """Every tool that takes --launcher is started by torchrun, and only these are."""
    launch = ['torchrun', '--nproc-per-node', '2']
    for before, stage in zip(
        read_stages(Config.fromfile(path)),
        read_stages({**Config.fromfile(path), 'launch': launch, 'launcher': ['--launcher', 'pytorch']}),
        strict=True,
    ):
        if before.words[0] in ('tools/train.py', 'tools/test.py', 'tools/generate_labels.py'):
            assert stage.words[:4] == (*launch, before.words[0])
            at = stage.words.index('--launcher')
            assert stage.words[at + 1] == 'pytorch'
            assert stage.words[3:at] + stage.words[at + 2 :] == before.words
        else:
            assert stage.words == before.words


def fingerprints(tmp_path, *options: str) -> str:
    """What a process of its own thinks decides the results of the stages."""
    code = (
        'import json, sys; from mmengine.config import Config; '
        'from sipe_mmseg.engine.pipeline import Pipeline, read_stages; '
        f'config = Config.fromfile("configs/pipelines/voc12.py"); config.merge_from_dict(dict({", ".join(options)})); '
        f'print(json.dumps(Pipeline(read_stages(config), {str(tmp_path)!r})._fingerprints))'
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', code], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_several_gpus_are_gone_on_with(tmp_path):
    options = "launch=['torchrun', '--nproc-per-node', '2']", "launcher=['--launcher', 'pytorch']"
    first = fingerprints(tmp_path, *options)
    assert 'config configs/sipe' in first and 'config tools' not in first
    assert first == fingerprints(tmp_path, *options)


def test_contents_of_files_in_command_and_environment(place):
    stage = Stage('a', ('tool.py', '@last file'), env={'CHECKPOINT': '@last file', 'PLAIN': 'x y'})
    assert stage.shell() == """CHECKPOINT="$(cat 'last file')" PLAIN='x y' python tool.py "$(cat 'last file')\""""
    for filled in (stage.command, stage.environment):
        with pytest.raises(FileNotFoundError, match='stage a: there is no last file, which an earlier stage writes'):
            filled()
    Path('last file').write_text('epoch_3.pth\n')
    assert stage.command()[1:] == ['tool.py', 'epoch_3.pth']
    assert stage.environment() == {'CHECKPOINT': 'epoch_3.pth', 'PLAIN': 'x y'}


def test_a_script_is_not_read_as_a_config(place):
    Path('loud.py').write_text("open('executed', 'w').close()")
    Pipeline([Stage('a', ('python', '-u', 'loud.py', 'out'))], 'w')
    assert not Path('executed').exists()


def test_torchrun_without_its_launcher():
    with pytest.raises(ValueError, match='stage a: torchrun without --launcher pytorch starts'):
        read_stages(dict(launch=('torchrun',), stages=[dict(name='a', run='{launch} tools/train.py')]))


def test_a_given_file_that_changes_is_noticed(place):
    Path('labels.json').write_text('cat')
    stages = [Stage('a', ('tool.py', 'a', 'out', 'labels.json'), needs=('labels.json',), makes=('out',))]
    Pipeline(stages, 'w').run(['a'])
    assert Pipeline(stages, 'w').is_done(stages[0])
    Path('labels.json').write_text('dog')
    with pytest.raises(ValueError, match=r'content of labels\.json: was .*, now '):
        Pipeline(stages, 'w').is_done(stages[0])


def test_custom_pipeline_wants_what_its_data_set_names(tmp_path):
    root = Path(__file__).parents[2] / 'configs'
    shutil.copytree(root / '_base_', tmp_path / '_base_')
    shutil.copytree(root / 'pipelines', tmp_path / 'pipelines')
    dataset = tmp_path / '_base_/datasets/custom.py'
    stages = read_stages(Config.fromfile(tmp_path / 'pipelines/custom.py'))
    folders = ('images/train', 'images/val', 'labels/train.json', 'labels/val.json', 'masks/val')
    assert stages[0].needs == tuple(f'data/custom/{folder}' for folder in folders)
    assert [stage.name for stage in stages if stage.figures] == ['score_seg_irn_crf']
    # Without masks the last stage still runs, and need not write figures.
    dataset.write_text(dataset.read_text().replace("val_masks = 'masks/val'", 'val_masks = None'))
    stages = read_stages(Config.fromfile(tmp_path / 'pipelines/custom.py'))
    assert stages[0].needs == tuple(f'data/custom/{folder}' for folder in folders[:-1])
    assert stages[-1].name == 'score_seg_irn_crf'
    assert [stage.name for stage in stages if stage.figures] == []
    # Without images for validation, either, those to train on are all there is.
    dataset.write_text(dataset.read_text().replace("val_images = 'images/val'", 'val_images = None'))
    stages = read_stages(Config.fromfile(tmp_path / 'pipelines/custom.py'))
    assert stages[0].needs == ('data/custom/images/train', 'data/custom/labels/train.json')


def test_shipped_stages_name_the_modules_that_they_need():
    stages = {stage.name: stage for stage in read_stages(Config.fromfile(SHIPPED[-1]))}
    assert SHIPPED[-1].stem == 'voc12'
    assert [name for name, stage in stages.items() if stage.modules == ('pydensecrf',)] == [
        'refine_is_cam',
        'make_ir_labels',
        'refine_irn',
        'score_seg_irn_crf',
    ]
