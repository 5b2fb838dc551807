"""Writing and scoring label maps from the command line, on a small built-in set and a network of random weights."""

import errno
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from sipe_mmseg.datasets.atomic_write import temporary_name
from sipe_mmseg.datasets.cam_files import read_cam, resize_cam
from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.result_folder import ResultFolder
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.models import MultiScaleCAM
from sipe_mmseg.refinement import dense_crf, ir_labels

REPOSITORY = Path(__file__).parents[2]
TOOLS = REPOSITORY / 'tools'
TRAIN = [f'train_{index:04d}' for index in range(5)]
CONFIG = f"""
_base_ = '{REPOSITORY}/configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
model = dict(decode_head=dict(side_channels=[8, 8, 16, 16]))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a config and two checkpoints of random weights."""
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=len(TRAIN), num_val=2, size=64))
    (home / 'config.py').write_text(CONFIG)
    config = Config.fromfile(home / 'config.py')
    for seed, name in enumerate(('one.pth', 'other.pth')):
        torch.manual_seed(seed)
        torch.save({'state_dict': MODELS.build(config.model).state_dict(), 'meta': {}}, home / name)
    return home


@pytest.fixture(scope='module', autouse=True)
def one_thread() -> Iterator[None]:
    """Files are the same bit for bit with the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')


def run(tool: str, *arguments: object) -> int:
    """Run a tool in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, 'argv', [str(TOOLS / tool), *map(str, arguments)])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    return int(stop.value.code or 0)


def generate(home: Path, *arguments: object, checkpoint: str = 'one.pth', split: str = 'train') -> int:
    return run('generate_labels.py', home / 'config.py', home / checkpoint, '--split', split, *arguments)


def evaluate(folder: Path, *arguments: object) -> int:
    return run('evaluate_labels.py', folder, '--dataset', 'shapes', '--split', 'train', *arguments)


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture(scope='module')
def generated(home: Path) -> Path:
    """Label maps and CAM files of the training images, written once; copy before you change them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SHAPES_ROOT', str(home / 'shapes'))
        patch.setattr('mmengine.device.utils.DEVICE', 'cpu')
        assert generate(home, '--out', home / 'done' / 'labels', '--cams', home / 'done' / 'cams') == 0
    return home / 'done'


@pytest.fixture
def done(generated: Path, tmp_path: Path) -> Path:
    shutil.copytree(generated, tmp_path / 'done')
    return tmp_path / 'done'


def test_writes_all_images_of_the_split(home: Path, done: Path) -> None:
    assert sorted(times(done / 'labels')) == ['settings.json', *(f'{name}.png' for name in TRAIN)]
    assert sorted(times(done / 'cams')) == ['settings.json', *(f'{name}.npz' for name in TRAIN)]
    for name in TRAIN:
        labels = Image.open(done / 'labels' / f'{name}.png')
        truth = Image.open(home / 'shapes' / 'SegmentationClass' / f'{name}.png')
        assert (labels.mode, labels.size) == ('P', truth.size)
        cam = read_cam(done / 'cams' / f'{name}.npz', 6)
        assert cam.is_cam.shape[1:] == (-(-truth.size[1] // 4), -(-truth.size[0] // 4))
        assert set(cam.classes) == set(np.unique(truth)) - {0}
        assert set(np.unique(labels)) <= set(cam.classes) | {0}
    settings = json.loads((done / 'labels' / 'settings.json').read_text())
    assert settings['model']['type'] == 'SIPESegmentor'
    assert settings['tta_model'] == {'type': 'MultiScaleCAM', 'mirror': True}
    assert json.loads((done / 'cams' / 'settings.json').read_text()) == {**settings, 'cam_stride': 4}


def test_batches_give_the_same_files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(home / 'shapes', tmp_path / 'shapes')
    for name in TRAIN[:4]:
        path = tmp_path / 'shapes' / 'JPEGImages' / f'{name}.jpg'
        Image.open(path).resize((64, 56)).save(path)
    monkeypatch.setenv('SHAPES_ROOT', str(tmp_path / 'shapes'))
    batches: list[int] = []
    step = MultiScaleCAM.test_step
    monkeypatch.setattr(
        MultiScaleCAM, 'test_step', lambda self, data: batches.append(len(data['inputs'][0])) or step(self, data)
    )
    for batch_size in (1, 3):
        out = tmp_path / str(batch_size)
        options = ('--cfg-options', f'test_dataloader.batch_size={batch_size}')
        assert generate(home, '--out', out / 'labels', '--cams', out / 'cams', *options) == 0
    assert batches == [1, 1, 1, 1, 1, 3, 1, 1]
    for name in (f'{folder}/{image}' for image in TRAIN for folder in ('labels', 'cams')):
        path = Path(name).with_suffix('.png' if name.startswith('labels') else '.npz')
        assert (tmp_path / '3' / path).read_bytes() == (tmp_path / '1' / path).read_bytes()


def test_rerun_does_what_is_missing_and_nothing_else(home: Path, done: Path, capsys: pytest.CaptureFixture) -> None:
    before = {
        name: (done / folder / name).read_bytes() for folder in ('labels', 'cams') for name in times(done / folder)
    }
    (done / 'labels' / f'{TRAIN[1]}.png').unlink()
    (done / 'cams' / f'{TRAIN[3]}.npz').unlink()
    (done / 'labels' / temporary_name(f'{TRAIN[1]}.png', 2**30)).write_text('half')  # of a killed run
    unchanged = {**times(done / 'labels'), **times(done / 'cams')}
    arguments = ['--out', done / 'labels', '--cams', done / 'cams']
    assert generate(home, *arguments) == 0
    printed = capsys.readouterr()
    assert '2 of 5 images written' in printed.out
    assert '2/2 images' in printed.err and 'images/s' in printed.err
    now = {**times(done / 'labels'), **times(done / 'cams')}
    # Both files of these two images are new.
    new = {f'{TRAIN[index]}{suffix}' for index in (1, 3) for suffix in ('.png', '.npz')}
    assert {name for name in now if now[name] != unchanged.get(name)} == new
    for folder in ('labels', 'cams'):
        for name in times(done / folder):
            assert (done / folder / name).read_bytes() == before[name] or name == 'settings.json', name

    # Nothing is missing.
    assert generate(home, *arguments) == 0
    assert '0 of 5 images written' in capsys.readouterr().out
    assert {**times(done / 'labels'), **times(done / 'cams')} == now


def test_another_split_joins_the_same_folder(home: Path, done: Path, capsys: pytest.CaptureFixture) -> None:
    assert generate(home, '--out', done / 'labels', split='val') == 0
    assert '2 of 2 images written' in capsys.readouterr().out
    assert len(times(done / 'labels')) == 1 + len(TRAIN) + 2


def test_changed_checkpoint_and_settings_are_noticed(home: Path, done: Path, capsys: pytest.CaptureFixture) -> None:
    before = times(done / 'labels')
    assert generate(home, '--out', done / 'labels', checkpoint='other.pth') == 1
    message = capsys.readouterr().err
    assert 'checkpoint_sha256: was "' in message and '--overwrite' in message
    assert generate(home, '--out', done / 'labels', '--no-tta') == 1
    assert 'tta_model: was {"type": ' in capsys.readouterr().err
    options = ['--cfg-options', 'model.decode_head.alpha=0.3']
    assert generate(home, '--out', done / 'labels', *options) == 1
    assert 'model.decode_head.alpha: was 0.5, now 0.3' in capsys.readouterr().err
    assert generate(home, '--out', done / 'labels', '--cams', done / 'cams', '--stride', '2') == 1
    assert 'cam_stride: was 4, now 2' in capsys.readouterr().err
    # What decides nothing may change.
    options = ['--cfg-options', 'model.backbone.pretrained=elsewhere.pth', 'test_dataloader.batch_size=2']
    assert generate(home, '--out', done / 'labels', *options) == 0
    assert times(done / 'labels') == before
    labels = (done / 'labels' / f'{TRAIN[0]}.png').read_bytes()
    assert generate(home, '--out', done / 'labels', '--overwrite', checkpoint='other.pth') == 0
    assert sorted(times(done / 'labels')) == sorted(before)
    assert (done / 'labels' / f'{TRAIN[0]}.png').read_bytes() != labels


def test_full_disk_stops_with_whole_files_only(
    home: Path, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, written = Image.Image.save, []

    def full_after_two(self: Image.Image, file: Path, **kwargs: str) -> None:
        if len(written) == 2:
            Path(file).write_bytes(b'\x89PNG half')
            raise OSError(errno.ENOSPC, 'full')
        save(self, file, **kwargs)
        written.append(file)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, 'save', full_after_two)
        assert generate(home, '--out', tmp_path) == 1
    assert f'no space left in {tmp_path} for {TRAIN[2]}.png: free some' in capsys.readouterr().err
    assert sorted(times(tmp_path)) == ['settings.json', f'{TRAIN[0]}.png', f'{TRAIN[1]}.png']
    assert generate(home, '--out', tmp_path) == 0
    assert '3 of 5 images written' in capsys.readouterr().out
    for name in TRAIN:
        assert (tmp_path / f'{name}.png').read_bytes() == (generated / 'labels' / f'{name}.png').read_bytes()


def test_wrong_input_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def message_of(*arguments: object, **options: str) -> str:
        assert generate(home, *arguments, **options) == 1
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().err

    out = ['--out', tmp_path / 'out']
    assert 'fly.pth: no such file' in message_of(*out, checkpoint='fly.pth')
    message = message_of(*out, split='fly')
    assert 'fly: no such file' in message and 'Splits that the config names: train, val' in message
    assert 'cannot share the folder' in message_of(*out, '--cams', tmp_path / 'out')
    (home / 'escape.txt').write_text(f'{TRAIN[0]}\n../../../outside\n')
    message = message_of(*out, split=str(home / 'escape.txt'))
    assert "escape.txt, line 2: no image '../../../outside'" in message
    message = message_of(*out, '--cfg-options', 'model.decode_head.side_channels=[8,8,16,32]')
    assert 'one.pth does not fit the model of' in message and 'side_projections.3' in message
    (home / 'text.pth').write_text('no checkpoint')
    assert 'text.pth' in message_of(*out, checkpoint='text.pth')
    assert 'start the command by torchrun' in message_of(*out, '--launcher', 'pytorch')
    assert generate(home, *out, '--stride', '0') == 2


def test_samples_without_ids_are_an_error_not_fewer_files(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / 'set'
    for name in ('a/1.png', 'b/1.png'):
        (root / 'images' / name).parent.mkdir(parents=True)
        shutil.copy(home / 'shapes' / 'JPEGImages' / f'{TRAIN[0]}.jpg', root / 'images' / name)
    classes = list(Config.fromfile(home / 'config.py').metainfo.classes)
    (root / 'labels.json').write_text(json.dumps({'a/1': classes[1:2], 'b/1': classes[1:2]}))
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{home}/config.py'\n"
        f"data = dict(_delete_=True, type='ImageLevelDataset', data_root='{root}', labels=dict(json='labels.json'), "
        "data_prefix=dict(img_path='images'), metainfo=_base_.metainfo, test_mode=True, "
        "pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')])\n"
        'test_dataloader = dict(dataset=data)\ntta_model = None\n'
    )
    words = (tmp_path / 'config.py', home / 'one.pth', '--out', tmp_path / 'out')
    assert run('generate_labels.py', *words) == 1
    message = capsys.readouterr().err
    assert '2 images were predicted, but have no file of their own: a/1, b/1' in message
    assert 'PackImageLevelInputs' in message


def test_scores_a_folder_and_what_the_stride_costs(
    home: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert evaluate(done / 'labels', '--json', tmp_path / 'labels.json') == 0
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / 'labels.json').read_text())
    assert f'mIoU {figures["mIoU"]:.2f} %' in printed
    assert set(figures['IoU']) == {'background', 'stripes', 'rings', 'dots', 'checks', 'star'}
    assert evaluate(done / 'cams', '--cams', '--json', tmp_path / 'cams.json') == 0
    assert abs(json.loads((tmp_path / 'cams.json').read_text())['mIoU'] - figures['mIoU']) < 5
    assert evaluate(home / 'shapes' / 'SegmentationClass') == 0
    assert 'mIoU 100.00 %' in capsys.readouterr().out


def test_unknown_pixels_are_wrong_unless_asked_otherwise(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in TRAIN:
        labels = np.array(Image.open(home / 'shapes' / 'SegmentationClass' / f'{name}.png'))
        labels[: len(labels) // 2] = 255
        write_label_png(tmp_path / f'{name}.png', labels, [])
    assert evaluate(tmp_path) == 0
    printed = capsys.readouterr().out
    assert 'mIoU 100.00 %' not in printed and 'counted as wrong' in printed
    assert evaluate(tmp_path, '--ignore-unknown') == 0
    printed = capsys.readouterr().out
    assert 'mIoU 100.00 %' in printed and '% of all, left out of the scores' in printed


@pytest.mark.parametrize('name', ['../one', '/etc/hostname', 'a/../../one', '.hidden'])
def test_lists_cannot_lead_out_of_the_folder(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    (tmp_path / 'list.txt').write_text(f'{TRAIN[0]}\n{name}\n')
    assert generate(home, '--out', tmp_path / 'labels', split=str(tmp_path / 'list.txt')) == 1
    assert f'list.txt, line 2: no image {name!r}' in capsys.readouterr().err
    assert not (tmp_path / 'labels').exists()


def test_evaluation_names_bad_files(done: Path, capsys: pytest.CaptureFixture) -> None:
    path = done / 'labels' / f'{TRAIN[2]}.png'
    whole, content = Image.open(path).copy(), path.read_bytes()
    Image.open(path).convert('RGB').save(path)
    assert evaluate(done / 'labels') == 1
    assert f'{path}: has mode RGB' in capsys.readouterr().err
    whole.resize((10, 12)).save(path)
    assert evaluate(done / 'labels') == 1
    assert re.search(f'{path}: .*10', capsys.readouterr().err)
    whole.putpixel((3, 4), 77)
    whole.save(path)
    assert evaluate(done / 'labels') == 1
    assert re.search(f'{path}: .*77', capsys.readouterr().err)
    path.write_bytes(content[: len(content) * 2 // 3])
    assert evaluate(done / 'labels') == 1
    assert str(path) in capsys.readouterr().err
    path.unlink()
    assert evaluate(done / 'labels') == 1
    assert f'1 of 5 images have no .png file: {TRAIN[2]}' in capsys.readouterr().err
    assert run('evaluate_labels.py', done / 'labels', '--dataset', 'fly') == 1
    assert 'fly: no such config file' in capsys.readouterr().err


def refine(method: str, source: Path, out: Path, *arguments: object) -> int:
    return run('refine_labels.py', method, 'shapes', source, '--split', 'train', '--out', out, *arguments)


@pytest.fixture
def crf_extra() -> None:
    pytest.importorskip('pydensecrf', reason='the extra crf is optional, and not installed')


@pytest.mark.usefixtures('crf_extra')
def test_crf_over_background_and_own_classes(home: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / 'crf'
    assert refine('crf', done / 'labels', out, '--jobs', '1', '--bilateral-srgb', '13') == 0
    for name in TRAIN:
        image = np.array(Image.open(home / 'shapes' / 'JPEGImages' / f'{name}.jpg'))
        labels = np.array(Image.open(done / 'labels' / f'{name}.png'))
        keys = [0, *np.unique(Image.open(home / 'shapes' / 'SegmentationClass' / f'{name}.png')).tolist()[1:]]
        positions = np.vectorize(keys.index)(labels)
        expected = np.array(keys)[dense_crf(image, positions, len(keys), bilateral_srgb=13)]
        refined = Image.open(out / f'{name}.png')
        assert refined.mode == 'P'
        np.testing.assert_array_equal(np.array(refined), expected)
    settings = json.loads((out / 'settings.json').read_text())
    assert settings['crf'] == {
        'gt_prob': 0.7,
        'gaussian_sxy': 3,
        'gaussian_compat': 3,
        'bilateral_sxy': 50,
        'bilateral_srgb': 13,
        'bilateral_compat': 10,
        'iterations': 10,
    }
    assert settings['source'] == {'settings_sha256': ResultFolder(done / 'labels', '.png').digest()}


@pytest.mark.usefixtures('crf_extra')
def test_ir_labels_of_cam_files(home: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'ir'
    assert refine('ir', done / 'cams', out, '--jobs', '1', '--background-scale', '0.4') == 0
    for name in TRAIN:
        image = np.array(Image.open(home / 'shapes' / 'JPEGImages' / f'{name}.jpg'))
        cam = read_cam(done / 'cams' / f'{name}.npz')
        expected = ir_labels(image, resize_cam(cam.is_cam, cam.size), np.array([0, *cam.classes]), background_scale=0.4)
        np.testing.assert_array_equal(np.array(Image.open(out / f'{name}.png')), expected)
    # A rerun makes what is missing and nothing else.
    (out / f'{TRAIN[1]}.png').unlink()
    before = times(out)
    capsys.readouterr()
    assert refine('ir', done / 'cams', out, '--jobs', '1', '--background-scale', '0.4') == 0
    assert '1 of 5 images written' in capsys.readouterr().out
    assert {name for name, time in times(out).items() if before.get(name) != time} == {f'{TRAIN[1]}.png'}
    # Other settings are noticed, and CAM files that were made anew with other settings are.
    assert refine('ir', done / 'cams', out, '--jobs', '1') == 1
    assert 'background_scale: was 0.4, now 0.5' in capsys.readouterr().err
    (done / 'cams' / 'settings.json').write_text('{"checkpoint_sha256": "other"}')
    assert refine('ir', done / 'cams', out, '--jobs', '1', '--background-scale', '0.4') == 1
    assert 'source.settings_sha256: was "' in capsys.readouterr().err
    # Thresholds are another rule.
    assert refine('ir', done / 'cams', out, '--jobs', '1', '--thresholds', '0.4', '0.1') == 1
    assert 'thresholds: was not set, now [0.4, 0.1]' in capsys.readouterr().err
    # Some CAM files are still those of the old checkpoint.
    assert refine('ir', done / 'cams', tmp_path / 'new', '--jobs', '1') == 1
    assert f'{TRAIN[0]}.npz: made with another checkpoint' in capsys.readouterr().err
    # 255 is counted where they are scored.
    assert evaluate(out, '--ignore-unknown') == 0
    assert 'unknown (255): ' in capsys.readouterr().out


@pytest.mark.usefixtures('crf_extra')
def test_refinement_names_bad_files(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = done / 'labels' / f'{TRAIN[2]}.png'
    whole = path.read_bytes()

    def message_of(pixels: np.ndarray | None = None) -> str:
        if pixels is not None:
            write_label_png(path, pixels, [])
        assert refine('crf', done / 'labels', tmp_path / 'out', '--jobs', '1') == 1
        assert not (tmp_path / 'out' / path.name).exists()
        return capsys.readouterr().err

    height, width = np.array(Image.open(path)).shape
    assert f'{path}: has pixels of unknown class (255)' in message_of(np.full((height, width), 255))
    message = message_of(np.arange(height * width).reshape(height, width) % 6)
    assert f'{path}: has class ' in message and 'is it the label map of another image' in message
    assert f'{path}: has {width}x{height + 1} pixels' in message_of(np.zeros((height + 1, width)))
    path.write_bytes(whole[: len(whole) // 2])
    assert f'{path}: not a readable PNG' in message_of()
    path.unlink()
    assert f'1 of 5 images have no .png file: {TRAIN[2]}' in message_of()
    assert refine('crf', done / 'labels', done / 'labels') == 1
    assert 'is the folder to read' in capsys.readouterr().err


@pytest.mark.usefixtures('crf_extra')
@pytest.mark.parametrize(
    ('method', 'wrong', 'message'),
    [
        ('crf', ('--gt-prob', '7'), 'gt_prob must be larger than 0'),
        ('ir', ('--bilateral-sxy', '-1'), 'bilateral_sxy'),
        ('ir', ('--background-scale', '7'), r'background_scale must be in [0, 1]'),
        ('ir', ('--thresholds', '0.1', '0.4'), 'thresholds are 0.1 and 0.4'),
    ],
)
def test_a_wrong_number_removes_nothing(
    method: str, wrong: tuple[str, ...], message: str, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, out = done / ('labels' if method == 'crf' else 'cams'), tmp_path / 'out'
    assert refine(method, source, out, '--jobs', '1') == 0
    before = times(out)
    assert refine(method, source, out, '--jobs', '1', '--overwrite', *wrong) == 1
    assert message in capsys.readouterr().err
    assert times(out) == before


@pytest.mark.parametrize(
    ('method', 'options'),
    [
        ('crf', ('--thresholds', '0.4', '0.1')),
        ('crf', ('--background-scale', '0.5')),
        ('ir', ('--thresholds', '0.4', '0.1', '--background-scale', '0.5')),
    ],
)
def test_options_that_would_do_nothing(
    method: str, options: tuple[str, ...], done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert refine(method, done / 'labels', tmp_path / 'out', *options) == 2
    assert '--background-scale' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_missing_extra_is_named(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'pydensecrf', None)
        assert refine('crf', done / 'labels', tmp_path / 'out') == 1
    assert "the extra 'crf'" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.usefixtures('crf_extra')
def test_several_processes_refine_as_one_and_report_errors(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for jobs in (1, 2):
        assert refine('crf', done / 'labels', tmp_path / f'crf{jobs}', '--jobs', jobs) == 0
    for name in TRAIN:
        one, two = (tmp_path / f'crf{jobs}' / f'{name}.png' for jobs in (1, 2))
        assert one.read_bytes() == two.read_bytes()
    path = done / 'labels' / f'{TRAIN[4]}.png'
    Image.open(path).convert('RGB').save(path)
    capsys.readouterr()
    assert refine('crf', done / 'labels', tmp_path / 'bad', '--jobs', '2') == 1
    assert f'{path}: has mode RGB' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures('crf_extra')
def test_no_process_outlives_a_killed_command(home: Path, done: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(TOOLS / 'refine_labels.py'), 'crf', 'shapes', str(done / 'labels')]
    command += ['--split=train', f'--out={tmp_path / "out"}', '--jobs=2', '--iterations=100000']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    children = f'/proc/{process.pid}/task/{process.pid}/children'
    workers: list[str] = []
    wait_until(lambda: workers.extend(Path(children).read_text().split()) or len(set(workers)) >= 3)
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f'/proc/{worker}').exists() for worker in workers))
    assert not list((tmp_path / 'out').glob('*.png'))


@pytest.mark.slow
def test_two_processes_write_as_one(home: Path, generated: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2', f'--master-port={port}']
    command += [str(TOOLS / 'generate_labels.py'), str(home / 'config.py'), str(home / 'one.pth'), '--split=train']
    command += ['--out', str(tmp_path / 'labels'), '--cams', str(tmp_path / 'cams'), '--launcher=pytorch']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    environment['PYTHONPATH'] = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    assert '5 of 5 images written' in result.stdout
    assert '5/5 images' in result.stderr
    for folder, suffix in (('labels', '.png'), ('cams', '.npz')):
        assert sorted(times(tmp_path / folder)) == sorted(times(generated / folder))
        for name in TRAIN:
            one, two = (root / folder / f'{name}{suffix}' for root in (generated, tmp_path))
            assert one.read_bytes() == two.read_bytes(), name
