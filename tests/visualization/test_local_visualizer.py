"""SIPELocalVisualizer: what it draws of which sample, and where that goes."""

from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from sipe_mmseg.visualization import SIPELocalVisualizer, prediction_panel

Sample = Callable[..., SegDataSample]
INSTALLED = {distribution.metadata['Name'] for distribution in distributions()}


@pytest.fixture
def backends(make_backend: Callable[[], Any]) -> list[Any]:
    return [make_backend(), make_backend()]


@pytest.fixture
def visualizer(backends: list[Any], classes: list, palette: list) -> SIPELocalVisualizer:
    # Two backends of one kind need names, which only configs can give.
    visualizer = SIPELocalVisualizer(vis_backends=backends[:1])
    visualizer._vis_backends['other'] = backends[1]
    visualizer.dataset_meta = dict(classes=classes, palette=palette)
    return visualizer


def drawn(backends: list[Any]) -> np.ndarray:
    """The one picture that every backend has got."""
    for backend in backends:
        ((_, _, picture),) = backend.pictures
        np.testing.assert_array_equal(picture, backends[0].pictures[0][2])
    return backends[0].pictures[0][2]


def view(image: np.ndarray) -> np.ndarray:
    """The image as a view of (3, H, W), as it comes out of a tensor."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)


def test_is_in_the_registry_and_shipped_configs_use_it() -> None:
    assert VISUALIZERS.get('SIPELocalVisualizer') is SIPELocalVisualizer
    runtime = Path(__file__).parents[2] / 'configs' / '_base_' / 'default_runtime.py'
    assert "visualizer = dict(type='SIPELocalVisualizer'" in runtime.read_text()


def test_a_prediction_of_sipe_goes_to_all_backends_as_a_panel(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample, classes: list,
    palette: list,
) -> None:  # fmt: skip
    sample = make_sample(image.shape[:2])
    visualizer.add_datasample('test_cat.jpg', view(image), sample, step=7)
    np.testing.assert_array_equal(drawn(backends), prediction_panel(image, sample, classes, palette))
    assert backends[1].pictures[0][:2] == ('test_cat.jpg', 7)
    visualizer.get_image()  # what is drawn last, as in every visualizer of OpenMMLab


def test_ground_truth_can_be_left_out(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample, classes: list,
    palette: list,
) -> None:  # fmt: skip
    sample = make_sample(image.shape[:2])
    visualizer.add_datasample('cat', image, sample, draw_gt=False)
    np.testing.assert_array_equal(drawn(backends), prediction_panel(image, sample, classes, palette, False))


def test_a_file_instead_of_the_backends(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample, classes: list,
    palette: list, tmp_path: Path,
) -> None:  # fmt: skip
    sample = make_sample(image.shape[:2])
    visualizer.add_datasample('cat', image, sample, out_file=str(tmp_path / 'new' / 'cat.png'))
    written = np.asarray(Image.open(tmp_path / 'new' / 'cat.png'))
    np.testing.assert_array_equal(written, prediction_panel(image, sample, classes, palette))
    assert not backends[0].pictures


def test_a_window(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shown = []
    monkeypatch.setattr(visualizer, 'show', lambda picture, **options: shown.append((picture, options)))
    visualizer.add_datasample('cat', image, make_sample(image.shape[:2]), show=True, wait_time=3)
    ((picture, options),) = shown
    np.testing.assert_array_equal(picture, drawn(backends))
    assert options == dict(win_name='cat', wait_time=3)


@pytest.mark.parametrize('fields', [['pred_sem_seg'], ['gt_sem_seg'], ['gt_sem_seg', 'pred_sem_seg']])
def test_other_samples_are_drawn_as_by_mmseg(
    visualizer: SIPELocalVisualizer, backends: list[Any], make_backend: Callable[[], Any], image: np.ndarray,
    make_sample: Sample, classes: list, palette: list, fields: list[str],
) -> None:  # fmt: skip
    whole = make_sample(image.shape[:2])
    sample = SegDataSample(**{name: whole.get(name) for name in fields})
    visualizer.add_datasample('cat', view(image), sample, step=2)
    theirs = SegLocalVisualizer(vis_backends=[make_backend()])
    theirs.dataset_meta = dict(classes=classes, palette=palette)
    theirs.add_datasample('cat', image, sample, step=2)
    ((name, step, picture),) = next(iter(theirs._vis_backends.values())).pictures
    np.testing.assert_array_equal(drawn(backends), picture)
    assert picture.shape == (24, 30 * len(fields), 3)
    assert backends[0].pictures[0][:2] == (name, step) == ('cat', 2)


@pytest.mark.skipif(int(cv2.__version__.split('.')[0]) < 5, reason='OpenCV 4 draws on any layout')
@pytest.mark.skipif('onedl-mmsegmentation' in INSTALLED, reason='mended in the onedl fork')
def test_mmsegs_own_cannot_draw_on_such_an_image(
    make_backend: Callable[[], Any], image: np.ndarray, make_sample: Sample, classes: list, palette: list
) -> None:
    theirs = SegLocalVisualizer(vis_backends=[make_backend()])
    theirs.dataset_meta = dict(classes=classes, palette=palette)
    with pytest.raises(cv2.error, match='Layout of the output array img is incompatible'):
        theirs.add_datasample('cat', view(image), make_sample(image.shape[:2]))


@pytest.mark.parametrize('case', ['no sample', 'empty sample', 'prediction not wanted'])
def test_where_there_is_nothing_to_draw_it_is_the_bare_image(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample, case: str
) -> None:
    samples = {
        'no sample': None,
        'empty sample': SegDataSample(),
        'prediction not wanted': SegDataSample(pred_sem_seg=make_sample(image.shape[:2]).pred_sem_seg),
    }
    visualizer.add_datasample('cat', view(image), samples[case], draw_pred=False)
    np.testing.assert_array_equal(drawn(backends), image)


@pytest.mark.parametrize('as_array', [False, True])
def test_an_image_with_labels_has_them_below_it(
    visualizer: SIPELocalVisualizer, backends: list[Any], palette: list, as_array: bool
) -> None:
    image = np.full((100, 150, 3), (77, 0, 177), np.uint8)
    sample = SegDataSample(image_labels=LabelData(multi_hot=torch.tensor([1.0, 0.0, 1.0])))
    visualizer.add_datasample('cat', image, sample.numpy() if as_array else sample, draw_pred=False)
    picture = drawn(backends)
    assert (picture == (77, 0, 177)).all(axis=2).sum() == 100 * 150  # in its own size
    present = [(picture == colour).all(axis=2).sum() > 50 for colour in palette[1:]]
    assert present == [True, False, True]


def test_classes_of_another_data_set_are_refused(
    visualizer: SIPELocalVisualizer, image: np.ndarray, make_sample: Sample
) -> None:
    visualizer.dataset_meta = dict(classes=('background', 'cat'), palette=None)
    with pytest.raises(ValueError, match='the sample has class 3, but there are only the 2 classes background, cat'):
        visualizer.add_datasample('cat', image, make_sample(image.shape[:2]))


def test_a_data_set_without_palette(
    visualizer: SIPELocalVisualizer, backends: list[Any], image: np.ndarray, make_sample: Sample, classes: list
) -> None:
    visualizer.dataset_meta = dict(classes=classes)
    sample = make_sample(image.shape[:2])
    sample.gt_sem_seg = PixelData(data=torch.ones(1, *image.shape[:2]).long())
    visualizer.add_datasample('cat', image, sample)
    assert (drawn(backends) == (128, 0, 0)).all(axis=2).sum() > 1000  # the first colour of VOC
