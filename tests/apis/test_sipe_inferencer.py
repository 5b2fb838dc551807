"""SIPEInferencer on a small built-in set and a network of random weights: its maps, its habits, what may go wrong."""

import re
import struct
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import INFERENCERS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from sipe_mmseg.apis import Prediction, Predictions, SIPEInferencer
from sipe_mmseg.datasets.cam_files import read_cam
from sipe_mmseg.datasets.image_labels import read_voc_xml
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.label_generation import generate_labels
from sipe_mmseg.models import SIPESegmentor

REPOSITORY = Path(__file__).parents[2]
CLASSES = ('background', 'stripes', 'rings', 'dots', 'checks', 'star')
CONFIG = f"""
_base_ = '{REPOSITORY}/configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
model = dict(decode_head=dict(side_channels=[8, 8, 16, 16]))
default_hooks = dict(fold_batch_norm=dict(enabled=False))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data set, and a work directory with a config and a checkpoint of random weights."""
    home = tmp_path_factory.mktemp('home')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SHAPES_ROOT', str(home / 'shapes'))
        patch.setattr('mmengine.device.utils.DEVICE', 'cpu')
        write_shapes(home / 'shapes', ShapesSettings(num_train=3, num_val=2, size=64))
        (home / 'run').mkdir()
        (home / 'run' / 'tiny.py').write_text(CONFIG)
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(home / 'run' / 'tiny.py').model)
        # Its features are positive: with these weights no image has stripes, and all have dots, checks and stars.
        weights = nn.init.normal_(model.decode_head.classifier.weight)
        weights.data[0], weights.data[2:] = -weights.data[0].abs(), weights.data[2:].abs()
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, home / 'run' / 'tiny.pth')
        (home / 'run' / 'last_checkpoint').write_text(str(home / 'run' / 'tiny.pth'))
        yield home
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def inferencer(home: Path) -> SIPEInferencer:
    return SIPEInferencer(home / 'run', show_progress=False)


@pytest.fixture(scope='module')
def photo(home: Path) -> str:
    return str(home / 'shapes' / 'JPEGImages' / 'val_0000.jpg')


@pytest.fixture
def pixels() -> np.ndarray:
    """An RGB image without symmetry, 40 rows of 52."""
    return np.asarray(smooth(40, 52))


def smooth(height: int, width: int) -> Image.Image:
    coarse = np.random.default_rng(7).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def only(results: Predictions) -> Prediction:
    assert not results.failed
    (prediction,) = results['predictions']
    return prediction


def assert_same_maps(found: Prediction, expected: Prediction, tolerance: float = 0.0) -> None:
    assert found.cam_channels == expected.cam_channels
    for name in ('scores', 'cam', 'is_cam'):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=tolerance, rtol=0, err_msg=name)
    if not tolerance:
        np.testing.assert_array_equal(found.seeds, expected.seeds)
        np.testing.assert_array_equal(found.label_map, expected.label_map)


# What one image gives -----------------------------------------------------------------------------------------------


def test_maps_have_the_size_of_the_image_and_lie_in_0_to_1(inferencer: SIPEInferencer, photo: str) -> None:
    prediction = only(inferencer(photo, labels=['star', 'rings']))
    width, height = Image.open(photo).size
    assert prediction.source == photo
    assert prediction.classes == CLASSES
    assert prediction.present.tolist() == [2, 5]
    assert prediction.labels_given
    assert prediction.cam_channels == ('rings', 'star')
    assert prediction.is_cam_channels == ('background', 'rings', 'star')
    assert prediction.cam.shape == (2, height, width)
    assert prediction.is_cam.shape == (3, height, width)
    assert prediction.seeds.shape == prediction.label_map.shape == (height, width)
    assert prediction.scores.shape == (5,)
    for values in (prediction.scores, prediction.cam, prediction.is_cam):
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    assert set(np.unique(prediction.seeds)) <= {0, 2, 5, 255}
    keys = np.array([0, 2, 5])
    np.testing.assert_array_equal(prediction.label_map, keys[prediction.is_cam.argmax(axis=0)])


@pytest.mark.parametrize(('tta', 'folding', 'tolerance'), [(True, False, 0), (False, False, 0), (False, True, 1e-4)])
def test_maps_are_those_of_label_generation(
    home: Path,
    inferencer: SIPEInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tta: bool,
    folding: bool,
    tolerance: float,
) -> None:
    predicted: dict[str, SegDataSample] = {}
    pack = SIPESegmentor.pack

    def remember(self: SIPESegmentor, sample: SegDataSample, scales: Any) -> SegDataSample:
        predicted[sample.img_path] = pack(self, sample, scales)
        return predicted[sample.img_path]

    config = Config.fromfile(home / 'run' / 'tiny.py')
    config.default_hooks.fold_batch_norm.enabled = folding
    with monkeypatch.context() as patch:
        patch.setattr(SIPESegmentor, 'pack', remember)
        generate_labels(
            config, home / 'run' / 'tiny.pth', tmp_path / 'labels', cam_dir=tmp_path / 'cams', cam_stride=1, tta=tta
        )
    folder = home / 'shapes'
    ids = ('val_0000', 'val_0001')
    found = read_voc_xml(str(folder / 'Annotations'), CLASSES, ids)
    labels = {name: [CLASSES[index + 1] for index in indices] for name, indices in found.items()}
    results = inferencer([folder / 'JPEGImages' / f'{name}.jpg' for name in ids], labels=labels, tta=tta)
    assert not results.failed
    for name, prediction in zip(ids, results['predictions'], strict=True):
        sample = predicted[prediction.source]
        label_map = np.asarray(Image.open(tmp_path / 'labels' / f'{name}.png'))
        if not tolerance:
            np.testing.assert_array_equal(prediction.label_map, label_map)
            np.testing.assert_array_equal(prediction.seeds, sample.localization.seeds[0])
        assert (prediction.label_map == label_map).mean() > 0.99
        for found_maps, expected in (
            (prediction.is_cam, sample.localization.is_cam),
            (prediction.cam, sample.localization.cam),
            (prediction.scores, sample.present.scores),
        ):
            np.testing.assert_allclose(found_maps, expected, atol=tolerance, rtol=0)
        cam = read_cam(tmp_path / 'cams' / f'{name}.npz')
        np.testing.assert_array_equal(prediction.present, cam.classes)
        np.testing.assert_allclose(prediction.is_cam, cam.is_cam, atol=1e-3)  # half precision in the file


def test_several_scales_are_the_default_of_a_config_that_has_them(
    home: Path, inferencer: SIPEInferencer, photo: str
) -> None:
    by_default, several, single = (only(inferencer(photo, labels=['star'], tta=tta)) for tta in (None, True, False))
    assert_same_maps(by_default, several)
    assert np.abs(several.cam - single.cam).max() > 0.01
    config = Config.fromfile(home / 'run' / 'tiny.py')
    config.tta_model = None
    without = SIPEInferencer(config, home / 'run' / 'tiny.pth', show_progress=False)
    assert_same_maps(only(without(photo, labels=['star'])), single)
    with pytest.raises(ValueError, match='tta=True needs tta_model and tta_pipeline in the config'):
        without(photo, tta=True)


def test_batches_give_each_image_the_maps_that_it_has_alone(inferencer: SIPEInferencer) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, 32, 3), dtype=np.uint8) for height in (24, 40, 24, 24, 40)]
    labels = [[place + 1] for place in range(5)]
    alone = inferencer(images, labels=labels)['predictions']
    together = inferencer(images, labels=labels, batch_size=2)['predictions']
    assert [prediction.source for prediction in together] == [f'inputs[{place}]' for place in range(5)]
    for one, other in zip(together, alone, strict=True):
        assert_same_maps(one, other, 1e-4)


# Labels -------------------------------------------------------------------------------------------------------------


def test_without_labels_the_classifier_decides(inferencer: SIPEInferencer, photo: str) -> None:
    prediction = only(inferencer(photo))
    assert not prediction.labels_given
    assert prediction.present.tolist() == (np.flatnonzero(prediction.scores > 0.5) + 1).tolist()
    assert prediction.cam_channels[-3:] == ('dots', 'checks', 'star')
    assert 'stripes' not in prediction.cam_channels


@pytest.mark.parametrize('labels', [['dots', 'star'], [3, 5], [np.int64(5), 'dots'], [['dots', 'star']]])
def test_one_input_takes_its_labels_as_names_or_indices(inferencer: SIPEInferencer, photo: str, labels: list) -> None:
    assert only(inferencer(photo, labels=labels, tta=False)).cam_channels == ('dots', 'star')


def test_labels_by_name_of_the_file(inferencer: SIPEInferencer, home: Path) -> None:
    folder = home / 'shapes' / 'JPEGImages'
    labels = {'train_0000': [1], 'train_0001.jpg': [2], str(folder / 'train_0002.jpg'): [], 'val_0000': None}
    results = inferencer(folder, labels=labels, tta=False)
    found = {Path(each.source).stem: each for each in results['predictions']}
    assert list(found) == ['train_0000', 'train_0001', 'train_0002', 'val_0000', 'val_0001']
    assert [each.labels_given for each in found.values()] == [True, True, True, False, False]
    assert [found[f'train_000{index}'].cam_channels for index in range(3)] == [('stripes',), ('rings',), ()]
    nothing = found['train_0002']
    assert nothing.cam.shape[0] == 0
    assert (nothing.label_map == 0).all()


@pytest.mark.parametrize(
    ('labels', 'error', 'message'),
    [
        ([['star'], ['stra']], ValueError, r"labels of .*b\.png: 'stra' is not a class; did you mean 'star'"),
        ([['star'], [6]], ValueError, r'labels of .*b\.png: class index 6, .* indices 1 to 5'),
        ([[0], None], ValueError, r'labels of .*a\.png: class index 0, .*0 is the background'),
        ([['star']], ValueError, 'labels: 1 lists of classes for 2 inputs'),
        (['star', 'dots'], TypeError, 'labels: 2 inputs need one list of classes each'),
        (['star', ['dots']], TypeError, 'labels: 2 inputs need one list of classes each'),
        ('star', TypeError, "labels: must be a list of classes for each input, .* not 'star'"),
        ({'a': 'star'}, TypeError, r"labels of .*a\.png: must be a list of classes, .* not 'star'"),
        ({'c': ['star']}, ValueError, r'labels: none of its keys \(c\) is .* of an input \(.*a\.png, .*b\.png\)'),
    ],
)
def test_wrong_labels_stop_before_anything_is_predicted(
    inferencer: SIPEInferencer, labels: Any, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inferencer, 'forward', lambda *args, **kwargs: pytest.fail('predicted'))
    with pytest.raises(error, match=message):
        inferencer(['x/a.png', 'x/b.png'], labels=labels)


def test_labels_that_the_pipeline_drops_are_an_error(home: Path, photo: str) -> None:
    config = Config.fromfile(home / 'run' / 'tiny.py')
    config.test_dataloader.dataset.pipeline[-1] = dict(type='PackSegInputs')
    dropping = SIPEInferencer(config, home / 'run' / 'tiny.pth', show_progress=False)
    assert 'drops the labels that were given' in dropping(photo, labels=['star'], tta=False).failed[photo]
    only(dropping(photo, tta=False))


# Arrays -------------------------------------------------------------------------------------------------------------


def test_arrays_are_bgr_unless_said_to_be_rgb(inferencer: SIPEInferencer, pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    from_file = only(inferencer(tmp_path / 'image.png', labels=[1, 4]))
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    before = bgr.copy()
    assert_same_maps(only(inferencer(bgr, labels=[1, 4])), from_file)
    assert_same_maps(only(inferencer(pixels, labels=[1, 4], channel_order='rgb')), from_file)
    assert np.abs(only(inferencer(pixels, labels=[1, 4])).cam - from_file.cam).max() > 0.01
    np.testing.assert_array_equal(bgr, before)
    with pytest.raises(ValueError, match="channel_order must be 'bgr' or 'rgb', not 'RGB'"):
        inferencer(pixels, channel_order='RGB')


def test_pictures_show_arrays_in_their_own_colours(inferencer: SIPEInferencer, pixels: np.ndarray) -> None:
    picture = inferencer(pixels, channel_order='rgb', return_vis=True)['visualization'][0]
    bgr = inferencer(np.ascontiguousarray(pixels[..., ::-1]), return_vis=True)['visualization'][0]
    np.testing.assert_array_equal(picture, bgr)
    mean = picture[40:140, 20:180].mean(axis=(0, 1))  # inside the first tile
    assert np.abs(mean - pixels.mean(axis=(0, 1))).max() < 25


# Habits of OpenMMLab's inferencers ----------------------------------------------------------------------------------


def test_is_in_the_registry(home: Path) -> None:
    built = INFERENCERS.build(dict(type='SIPEInferencer', model=str(home / 'run'), show_progress=False))
    assert isinstance(built, SIPEInferencer)


def test_writes_pictures_and_label_maps(
    inferencer: SIPEInferencer, photo: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    first = inferencer.num_arrays
    results = inferencer([photo, pixels, photo], out_dir=tmp_path)
    names = ['val_0000.png', f'{first:08d}.png', 'val_0000_2.png']
    for folder in ('vis', 'pred'):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted(names)
    assert results['visualization'] == []
    for name, prediction in zip(names, results['predictions'], strict=True):
        written = Image.open(tmp_path / 'pred' / name)
        assert written.mode == 'P'
        np.testing.assert_array_equal(written, prediction.label_map)
    inferencer(pixels, out_dir=tmp_path, pred_out_dir='labels', img_out_dir='pictures')
    assert [path.name for path in (tmp_path / 'labels').iterdir()] == [f'{first + 1:08d}.png']
    assert [path.name for path in (tmp_path / 'pictures').iterdir()] == [f'{first + 1:08d}.png']
    with pytest.raises(ValueError, match="img_out_dir and pred_out_dir are both 'vis'"):
        inferencer(pixels, out_dir=tmp_path, pred_out_dir='vis')
    with pytest.raises(ValueError, match='batch_size must be at least 1, not 0'):
        inferencer(pixels, batch_size=0)


def test_a_file_in_the_place_of_a_folder(inferencer: SIPEInferencer, photo: str, tmp_path: Path) -> None:
    (tmp_path / 'vis').touch()
    with pytest.raises(NotADirectoryError, match=r'vis is a file, .*; name a folder'):
        inferencer(photo, out_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['vis']


def test_returns_samples_and_pictures(inferencer: SIPEInferencer, photo: str) -> None:
    results = inferencer([photo, 'nowhere.jpg', photo], return_datasamples=True, return_vis=True, labels=[[1], [2], []])
    assert [type(sample) for sample in results['predictions']] == [SegDataSample, SegDataSample]
    assert [sample.present.classes.tolist() for sample in results['predictions']] == [[1], []]
    assert [sample.img_path for sample in results['predictions']] == [photo, photo]
    assert [picture.dtype for picture in results['visualization']] == [np.uint8, np.uint8]
    arrays = inferencer(photo, labels=[1])['predictions'][0]
    np.testing.assert_array_equal(arrays.is_cam, results['predictions'][0].localization.is_cam)


def test_shows_each_picture(inferencer: SIPEInferencer, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(inferencer.visualizer, 'show', lambda picture, **options: shown.append((picture, options)))
    results = inferencer(photo, show=True, wait_time=2, return_vis=True)
    ((picture, options),) = shown
    np.testing.assert_array_equal(picture, results['visualization'][0])
    assert options == {'win_name': photo, 'wait_time': 2}


def test_progress_bar_can_be_had_or_not(
    home: Path, inferencer: SIPEInferencer, photo: str, capsys: pytest.CaptureFixture
) -> None:
    inferencer([photo] * 2, tta=False)
    assert 'Inference' not in capsys.readouterr().out
    SIPEInferencer(home / 'run')([photo] * 2, tta=False)
    assert 'Inference' in capsys.readouterr().out


def test_takes_urls(
    inferencer: SIPEInferencer, home: Path, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('no_proxy', '*')
    handler = partial(SimpleHTTPRequestHandler, directory=str(home / 'shapes' / 'JPEGImages'))
    monkeypatch.setattr(SimpleHTTPRequestHandler, 'log_message', lambda *args: None)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f'http://127.0.0.1:{server.server_port}'
        urls = [f'{root}/val_0000.jpg?size=full', f'{root}/nothing.jpg', f'{root}/']
        results = inferencer(urls, labels={'val_0000': ['star']}, batch_size=2, out_dir=tmp_path)
        server.shutdown()
    assert_same_maps(results['predictions'][0], only(inferencer(photo, labels=['star'])))
    assert [path.name for path in (tmp_path / 'pred').iterdir()] == ['val_0000.png']
    assert set(results.failed) == set(urls[1:])
    assert '404' in results.failed[urls[1]]
    assert re.match(f'{root}/: not a readable image', results.failed[urls[2]])


# The model stays as it is -------------------------------------------------------------------------------------------


def state(model: nn.Module) -> tuple:
    return (
        {name: (module.training, tuple(module._forward_hooks)) for name, module in model.named_modules()},
        {name: (value.requires_grad, value.clone()) for name, value in model.named_parameters()},
        {name: value.clone() for name, value in model.named_buffers()},
        set(vars(model)),
    )


@pytest.mark.parametrize('tta', [True, False])
def test_a_model_in_training_is_left_as_it_was(home: Path, photo: str, tta: bool) -> None:
    config = Config.fromfile(home / 'run' / 'tiny.py')
    config.model.backbone.frozen_stages = 1
    model = MODELS.build(config.model)
    model.load_state_dict(torch.load(home / 'run' / 'tiny.pth', weights_only=True)['state_dict'])
    model.cfg = config
    model.train()
    model.backbone.layer3.eval()
    model.backbone.layer1.requires_grad_(True)  # frozen_stages would freeze it again
    calls = []
    model.backbone.layer2.register_forward_hook(lambda *args: calls.append(1))
    before = state(model)
    inferencer = SIPEInferencer(model, show_progress=False)
    prediction = only(inferencer(photo, tta=tta, labels=['star']))
    assert calls
    assert inferencer.model is model
    after = state(model)
    assert before[0] == after[0] and before[3] == after[3]
    for old, new in zip([*before[1].values()], [*after[1].values()], strict=True):
        assert old[0] == new[0] and torch.equal(old[1], new[1])
    assert all(torch.equal(value, after[2][name]) for name, value in before[2].items())
    assert_same_maps(prediction, only(SIPEInferencer(home / 'run', show_progress=False)(photo, tta=tta, labels=[5])))


def test_modes_are_put_back_after_an_error(home: Path, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inferencer = SIPEInferencer(home / 'run', show_progress=False)
    inferencer.model.train()

    def broken(*args: Any, **kwargs: Any) -> None:
        assert not inferencer.model.backbone.training
        raise RuntimeError('broken')

    monkeypatch.setattr(inferencer.model, 'localize', broken)
    with pytest.raises(RuntimeError, match='broken'):
        inferencer(photo)
    assert all(module.training for module in inferencer.model.modules() if not isinstance(module, nn.Conv2d))


# Where the model comes from -----------------------------------------------------------------------------------------


def test_config_file_work_directory_and_config_are_one_model(
    home: Path, inferencer: SIPEInferencer, photo: str, tmp_path: Path
) -> None:
    config, checkpoint = home / 'run' / 'tiny.py', home / 'run' / 'tiny.pth'
    expected = only(inferencer(photo, tta=False))
    for model in (config, str(config), Config.fromfile(config), str(home / 'run')):
        built = SIPEInferencer(model, str(checkpoint), 'cpu', show_progress=False)
        assert not built.model.training
        assert_same_maps(only(built(photo, tta=False)), expected)
    assert_same_maps(only(SIPEInferencer(config, home / 'run', 'cpu', show_progress=False)(photo, tta=False)), expected)
    assert built.model.dataset_meta['classes'] == CLASSES


def test_classes_of_the_checkpoint_come_before_those_of_the_config(home: Path, tmp_path: Path, photo: str) -> None:
    classes = ['background', 'a', 'b', 'c', 'd', 'e']
    content = torch.load(home / 'run' / 'tiny.pth', weights_only=True)
    content['meta'] = {'dataset_meta': {'classes': classes, 'palette': None}}
    torch.save(content, tmp_path / 'named.pth')
    inferencer = SIPEInferencer(home / 'run', tmp_path / 'named.pth', show_progress=False)
    assert only(inferencer(photo, labels=['d'], tta=False)).cam_channels == ('d',)
    assert len(inferencer.palette) == 6


def test_wrong_models_are_named(home: Path, tmp_path: Path) -> None:
    run = home / 'run'
    with pytest.raises(ValueError, match=r'tiny\.py: needs a checkpoint'):
        SIPEInferencer(run / 'tiny.py')
    with pytest.raises(FileNotFoundError, match=r'checkpoint .*fly\.pth: no such file'):
        SIPEInferencer(run / 'tiny.py', 'fly.pth')
    with pytest.raises(FileNotFoundError, match=r'fly\.py: no such file or folder'):
        SIPEInferencer(tmp_path / 'fly.py', run / 'tiny.pth')
    with pytest.raises(TypeError, match=r'model must be a config file, .* not int'):
        SIPEInferencer(3)
    config = Config.fromfile(run / 'tiny.py')
    model = MODELS.build(config.model)
    with pytest.raises(TypeError, match=r'set model\.cfg = Config\.fromfile'):
        SIPEInferencer(model)
    model.cfg = config
    with pytest.raises(ValueError, match='a model object has weights already'):
        SIPEInferencer(model, run / 'tiny.pth')
    with pytest.raises(ValueError, match='the model is a Linear, and only a SIPESegmentor has CAMs'):
        SIPEInferencer(nn.Linear(1, 1))
    config.model.decode_head.side_channels = [8, 8, 16, 32]
    with pytest.raises(ValueError, match=r'does not fit the model of .*tiny\.py(?s:.)*side_projections\.3'):
        SIPEInferencer(config, run / 'tiny.pth')
    config = Config.fromfile(run / 'tiny.py')
    config.test_dataloader.dataset.metainfo = dict(classes=('background', 'cat'))
    with pytest.raises(ValueError, match=r'num_classes=6, but its data set has 2 classes \(background, cat\)'):
        SIPEInferencer(config, run / 'tiny.pth')
    config.model.type = 'EncoderDecoder'
    with pytest.raises(ValueError, match=r"model\.type is 'EncoderDecoder', and only a SIPESegmentor has CAMs"):
        SIPEInferencer(config, run / 'tiny.pth')


def test_configs_without_a_pipeline_to_use(home: Path) -> None:
    config = Config.fromfile(home / 'run' / 'tiny.py')
    pipeline = config.test_dataloader.dataset.pipeline
    config.test_dataloader.dataset.pipeline = pipeline[1:]
    with pytest.raises(ValueError, match=f'must begin with LoadImageFromFile, not {pipeline[1].type}'):
        SIPEInferencer(config, home / 'run' / 'tiny.pth')
    config.test_dataloader.dataset.pipeline = []
    with pytest.raises(ValueError, match='must begin with LoadImageFromFile, not be empty'):
        SIPEInferencer(config, home / 'run' / 'tiny.pth')
    config.test_dataloader = None
    with pytest.raises(ValueError, match=r'tiny\.py: has no test_dataloader'):
        SIPEInferencer(config, home / 'run' / 'tiny.pth')


# Fifty inputs of every kind -----------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has no pixels: whoever decodes it finds that out."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IEND', b'')
    )


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows (Exif 2.3, table 4) of stored pixels."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    vertical, horizontal = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if vertical else 1, :: -1 if horizontal else 1])


def mixed_inputs(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str], list[Any]]:
    """Files of every kind: BGR pixels of those that are images, patterns of the message for the others; some arrays."""
    picture = smooth(40, 52)
    bgr = np.asarray(picture)[..., ::-1]
    grey = np.asarray(picture.convert('L'))
    right: dict[str, np.ndarray] = {}
    wrong: dict[str, str] = {}

    def save(name: str, image: Image.Image, expected: np.ndarray | None = None, **options: Any) -> None:
        image.save(folder / name, **options)
        right[name] = cv2.imread(str(folder / name)) if expected is None else expected

    for suffix in ('png', 'PNG', 'bmp', 'tif', 'tiff', 'ppm'):
        save(f'colour_{suffix}.{suffix}', picture, bgr)
    save('lossless.webp', picture, bgr, lossless=True)
    for quality in (10, 60, 95):
        save(f'quality{quality}.jpg', picture, quality=quality)
    save('progressive.jpeg', picture, progressive=True)
    save('upper.JPG', picture)
    save('no_suffix', picture, bgr, format='PNG')
    save('name.wrong.jpg', picture, bgr, format='PNG')
    save('ünï cödé.png', picture, bgr)
    grey3 = np.repeat(grey[:, :, None], 3, axis=2)
    save('grey.png', picture.convert('L'), grey3)
    save('grey.jpg', picture.convert('L'))
    save('grey_alpha.png', picture.convert('LA'), grey3)
    black_white = picture.convert('1')
    save('black_white.png', black_white, np.repeat(np.asarray(black_white, np.uint8)[:, :, None] * 255, 3, axis=2))
    alpha = picture.copy()
    alpha.putalpha(Image.fromarray(np.tile(np.arange(52, dtype=np.uint8) * 4, (40, 1))))
    save('rgba.png', alpha, bgr)
    save('rgba.tif', alpha)
    palette = picture.quantize(32)
    save('palette.png', palette, np.asarray(palette.convert('RGB'))[..., ::-1])
    save('palette_transparent.png', palette, np.asarray(palette.convert('RGB'))[..., ::-1], transparency=0)
    save('cmyk.jpg', picture.convert('CMYK'))
    low = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint16)
    cv2.imwrite(str(folder / 'grey16.png'), grey.astype(np.uint16) * 256 + low[..., 0])
    cv2.imwrite(str(folder / 'colour16.png'), bgr.astype(np.uint16) * 256 + low)
    right |= {'grey16.png': grey3, 'colour16.png': bgr}
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        name = f'turned{orientation}.jpg'
        save(name, picture, exif=exif)
        stored = cv2.imread(str(folder / name), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        right[name] = turned(stored, orientation)
    save('small.png', picture.resize((16, 16)), np.asarray(picture.resize((16, 16)))[..., ::-1])

    Image.new('RGB', (1, 1)).save(folder / 'one.png')
    wrong['one.png'] = '1x1 pixels, but both sides must have at least 16'
    Image.new('RGB', (400, 3)).save(folder / 'line.png')
    wrong['line.png'] = '400x3 pixels, but both sides must have at least 16'
    (folder / 'huge.png').write_bytes(png_header(12000, 9000))
    wrong['huge.png'] = r'12000x9000 pixels are 108\.0 million, more than the 50\.0 million of max_pixels'
    (folder / 'monstrous.png').write_bytes(png_header(200000, 200000))
    wrong['monstrous.png'] = 'not a readable image'
    for name in ('quality95.jpg', 'colour_png.png', 'colour_tif.tif'):
        content = (folder / name).read_bytes()
        (folder / f'cut_{name}').write_bytes(content[: len(content) // 2])
        wrong[f'cut_{name}'] = 'not a readable image'
    content = bytearray((folder / 'colour_png.png').read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / 'flipped_bits.png').write_bytes(content)
    wrong['flipped_bits.png'] = 'not a readable image '
    (folder / 'notes.txt').write_text('no image')
    (folder / 'text.jpg').write_text('no image either')
    (folder / 'empty.jpg').touch()
    (folder / 'header_only.png').write_bytes(png_header(40, 40))
    for name in ('notes.txt', 'text.jpg', 'empty.jpg', 'header_only.png'):
        wrong[name] = 'not a readable image'
    return right, wrong, [None, grey, np.float32(bgr), picture, bgr[:, :, :1]]


def test_fifty_mixed_inputs(inferencer: SIPEInferencer, tmp_path: Path) -> None:
    right, wrong, arrays = mixed_inputs(tmp_path)
    (tmp_path / 'folder').mkdir()
    others = [str(tmp_path / 'folder'), str(tmp_path / 'missing.jpg'), '', 'nothing://of/this.jpg', *arrays]
    files = [str(tmp_path / name) for name in sorted([*right, *wrong])]
    inputs = [*files[:20], *others, *files[20:]]
    assert len(inputs) >= 50
    results = inferencer(inputs, labels=[['star', 'dots']] * len(inputs), tta=False, batch_size=4)

    found = {Path(each.source).name: each for each in results['predictions']}
    assert list(found) == [Path(path).name for path in files if Path(path).name in right]
    expected = inferencer([right[name] for name in found], labels=[['star', 'dots']] * len(found), tta=False)
    for (name, prediction), reference in zip(found.items(), expected['predictions'], strict=True):
        assert prediction.label_map.shape == right[name].shape[:2], name
        assert_same_maps(prediction, reference, 1e-4)

    failed = {Path(source).name: message for source, message in results.failed.items()}
    places = [f'inputs[{20 + place}]' for place in range(4, 9)]
    assert set(failed) == {*wrong, 'folder', 'missing.jpg', '', 'this.jpg', *places}
    for source, message in results.failed.items():
        assert message.startswith(source), message
        assert re.search(wrong.get(Path(source).name, ''), message), message
    assert failed['this.jpg'] == 'nothing://of/this.jpg: no such kind of address; paths, http:// and https:// will do'
    assert failed['missing.jpg'].endswith('missing.jpg: no such image')
    assert [failed[place].split(': ')[1] for place in places] == [
        'an input is a path, a URL or a NumPy array, not NoneType',
        'an array must be uint8 (H, W, 3), not uint8 (40, 52)',
        'an array must be uint8 (H, W, 3), not float32 (40, 52, 3)',
        'an input is a path, a URL or a NumPy array, not Image',
        'an array must be uint8 (H, W, 3), not uint8 (40, 52, 1)',
    ]


def test_summary_names_keys_of_labels_that_are_no_inputs(
    inferencer: SIPEInferencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr('sipe_mmseg.apis.sipe_inferencer.print_log', lambda text, *args, **kwargs: lines.append(text))
    inferencer(['gone/a.jpg', 'gone/b.jpg'], labels={'a': ['star'], 'c': ['dots']})
    told = 'labels: 1 of 2 keys names no picture here: c; 1 picture without labels was left to the classifier (b.jpg)'
    assert lines[0] == told
    assert lines[1].splitlines()[-1] == f'  {told}'


def test_summary_names_what_failed(inferencer: SIPEInferencer, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr('sipe_mmseg.apis.sipe_inferencer.print_log', lambda text, *args, **kwargs: lines.append(text))
    inferencer(photo, tta=False)
    inferencer([photo, 'gone.jpg', photo, 'gone.jpg'], tta=False)
    inferencer([f'{number}.jpg' for number in range(12)], tta=False)
    assert lines[0] == '1 of 1 images predicted'
    assert lines[1].splitlines() == ['2 of 4 images predicted, 2 failed:', '  gone.jpg: no such image']
    assert lines[2].splitlines()[-1] == '  ... and 2 more, all of them in .failed of the result'


@pytest.mark.parametrize('missing', ['nothing://of/this.jpg', 'no/such/folder/', Path('gone.png'), 's3://bucket/a.jpg'])
def test_one_input_that_is_nowhere(inferencer: SIPEInferencer, missing: Any) -> None:
    results = inferencer(missing)
    assert results['predictions'] == []
    assert list(results.failed) == [str(missing)]


def test_a_folder_is_all_its_pictures(
    inferencer: SIPEInferencer, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'read me.txt').write_text('no image')
    with pytest.raises(FileNotFoundError, match=r'no pictures, .*\(1 other files\); folders below it'):
        inferencer(tmp_path)
    lines: list[str] = []
    monkeypatch.setattr('sipe_mmseg.apis.sipe_inferencer.print_log', lambda text, *args, **kwargs: lines.append(text))
    (tmp_path / 'below').mkdir()
    for name in ('b.jpg', 'a.jpg', '.hidden.jpg', 'below/c.jpg'):
        (tmp_path / name).write_bytes(Path(photo).read_bytes())
    (tmp_path / 'text.jpg').write_text('no image')
    results = inferencer(str(tmp_path), tta=False)
    assert [prediction.source for prediction in results['predictions']] == [
        str(tmp_path / 'a.jpg'),
        str(tmp_path / 'b.jpg'),
    ]
    assert list(results.failed) == [str(tmp_path / 'text.jpg')]
    assert results.left_out == [str(tmp_path / 'read me.txt')]
    summary = lines[0].splitlines()
    assert summary[0] == '2 of 3 images predicted, 1 failed:' and 'text.jpg: not a readable image' in summary[1]
    assert summary[2] == '  1 file is no picture by its name, and left out: read me.txt'


def test_max_pixels_is_for_files_and_arrays(home: Path, photo: str, pixels: np.ndarray) -> None:
    width, height = Image.open(photo).size
    strict = SIPEInferencer(home / 'run', max_pixels=width * height - 1, show_progress=False)
    large = np.zeros((height, width, 3), np.uint8)
    results = strict([photo, large, pixels], tta=False)
    assert [prediction.source for prediction in results['predictions']] == ['inputs[2]']
    assert set(results.failed) == {photo, 'inputs[1]'}
    only(SIPEInferencer(home / 'run', max_pixels=width * height, show_progress=False)(photo, tta=False))


def test_maps_of_a_large_image_come_from_a_smaller_copy(home: Path, pixels: np.ndarray) -> None:
    """Enlarged four times by the nearest pixel: the area average gives back the very image."""
    height, width = pixels.shape[:2]
    large = pixels.repeat(4, axis=0).repeat(4, axis=1)
    inferencer = SIPEInferencer(home / 'run', working_pixels=height * width, show_progress=False)
    for tta in (False, True):
        results = inferencer([large, pixels], labels=[['star', 'dots'], ['star', 'dots']], tta=tta)
        found, small = results['predictions']
        np.testing.assert_allclose(found.scores, small.scores, atol=1e-5)
        for name in ('is_cam', 'cam'):
            expected = F.interpolate(
                torch.from_numpy(getattr(small, name))[None], size=large.shape[:2], mode='bilinear'
            )
            np.testing.assert_allclose(getattr(found, name), expected[0].numpy(), atol=1e-4)
        assert (found.seeds[::4, ::4] == small.seeds).all()
        assert found.label_map.shape == large.shape[:2]
        assert (found.label_map == np.array([0, *found.present])[found.is_cam.argmax(axis=0)]).all()
    samples = inferencer([large, pixels], labels=[['star'], ['star']], return_datasamples=True)['predictions']
    enlarged, own = (sample.localization.assignment for sample in samples)
    assert torch.equal(enlarged[:, ::4, ::4], own)
    assert inferencer(large, return_vis=True)['visualization'][0].any()
    nothing = only(inferencer(large, labels=[[]]))
    assert nothing.cam.shape == (0, *large.shape[:2]) and not nothing.label_map.any()
    with pytest.raises(ValueError, match='working_pixels must be at least 256, not 0'):
        SIPEInferencer(home / 'run', working_pixels=0)


def test_min_side_can_let_the_smallest_pass(home: Path) -> None:
    inferencer = SIPEInferencer(home / 'run', min_side=1, show_progress=False)
    images = [np.full((height, width, 3), 90, np.uint8) for height, width in ((1, 1), (1, 30), (16, 2))]
    results = inferencer(images, labels=[['star', 'dots']] * 3, return_vis=True)
    assert not results.failed
    for image, prediction in zip(images, results['predictions'], strict=True):
        assert prediction.is_cam.shape == (3, *image.shape[:2])
        assert np.isfinite(prediction.is_cam).all() and np.isfinite(prediction.cam).all()


def test_an_image_too_large_for_the_memory_stops_no_other(
    inferencer: SIPEInferencer, photo: str, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = inferencer.forward

    def short_of_memory(data: Any, tta: bool) -> Any:
        if data['inputs'][0].shape[-2:] == (40, 52):
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return forward(data, tta=tta)

    monkeypatch.setattr(inferencer, 'forward', short_of_memory)
    results = inferencer([pixels, photo], tta=False)
    assert [prediction.source for prediction in results['predictions']] == [photo]
    assert results.failed['inputs[0]'].startswith('inputs[0]: not enough memory for 52x40 pixels')
