"""Pictures of a prediction: which there are, in which colours, with which legend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from sipe_mmseg.visualization import blend_heat, colour_labels, panel, prediction_panel, prediction_row
from sipe_mmseg.visualization.gallery import NO_CLASS

Sample = Callable[..., SegDataSample]


def test_each_picture_shows_its_map(image: np.ndarray, make_sample: Sample, palette: list) -> None:
    sample = make_sample(image.shape[:2])
    row = prediction_row(image, sample, palette)
    maps = sample.localization
    expected = {
        'image': image,
        'CAM': blend_heat(image, np.maximum(maps.cam[0].numpy(), maps.cam[1].numpy())),
        'IS-CAM': blend_heat(image, np.maximum(maps.is_cam[1].numpy(), maps.is_cam[2].numpy())),  # 0 is background
        'seeds': colour_labels(maps.seeds[0].numpy(), palette, NO_CLASS),
        'prototypes': colour_labels(maps.assignment[0].numpy(), palette, NO_CLASS),
        'label map': colour_labels(sample.pred_sem_seg.data[0].numpy(), palette),
        'ground truth': colour_labels(sample.gt_sem_seg.data[0].numpy(), palette, NO_CLASS),
    }
    assert list(row) == list(expected)
    for caption, picture in row.items():
        np.testing.assert_array_equal(picture, expected[caption], err_msg=caption)
    assert (row['seeds'][0, 0] == NO_CLASS).all()  # the corner has no seed


def test_what_a_sample_lacks_is_left_out(image: np.ndarray, make_sample: Sample, palette: list) -> None:
    sample = make_sample(image.shape[:2])
    assert list(prediction_row(image, sample, palette, ground_truth=False))[-1] == 'label map'
    del sample.localization.assignment
    del sample.gt_sem_seg
    assert list(prediction_row(image, sample, palette)) == ['image', 'CAM', 'IS-CAM', 'seeds', 'label map']


def test_an_image_without_any_class_has_cold_maps(image: np.ndarray, make_sample: Sample, palette: list) -> None:
    sample = make_sample(image.shape[:2], classes=())
    row = prediction_row(image, sample, palette)
    cold = blend_heat(image, np.zeros(image.shape[:2]))
    np.testing.assert_array_equal(row['CAM'], cold)
    np.testing.assert_array_equal(row['IS-CAM'], cold)


def test_arrays_and_half_precision_are_as_good_as_tensors(
    image: np.ndarray, make_sample: Sample, palette: list
) -> None:
    sample = make_sample(image.shape[:2])
    expected = prediction_row(image, sample, palette)
    for caption, picture in prediction_row(image, sample.numpy(), palette).items():
        np.testing.assert_array_equal(picture, expected[caption], err_msg=caption)
    maps = sample.localization
    maps.cam, maps.is_cam = maps.cam.bfloat16(), maps.is_cam.bfloat16()
    for caption, picture in prediction_row(image, sample, palette).items():
        assert np.abs(picture.astype(int) - expected[caption]).max() <= 8, caption


@pytest.mark.parametrize(
    ('changes', 'legend'),
    [
        ({}, ['background', 'cat', 'bird', 'none']),
        (dict(seeds=0), ['background', 'cat', 'bird']),
        (dict(seeds=0, truth=2), ['background', 'cat', 'dog', 'bird']),
        (dict(seeds=0, truth=255), ['background', 'cat', 'bird', 'none']),
    ],
)
def test_the_legend_has_what_is_in_the_maps(
    image: np.ndarray, make_sample: Sample, classes: list, palette: list, changes: dict[str, Any], legend: list
) -> None:
    sample = make_sample(image.shape[:2], classes=(1, 3))
    size = (1, *image.shape[:2])
    if 'seeds' in changes:
        sample.localization.seeds = torch.full(size, changes['seeds'])
    if 'truth' in changes:
        sample.gt_sem_seg = PixelData(data=torch.full(size, changes['truth']))
    row = prediction_row(image, sample, palette)
    colours = dict(zip(classes, palette, strict=True)) | {'none': NO_CLASS}
    expected = panel([list(row.values())], list(row), [(name, colours[name]) for name in legend])
    np.testing.assert_array_equal(prediction_panel(image, sample, classes, palette), expected)


def test_classes_of_another_data_set_are_refused(image: np.ndarray, make_sample: Sample) -> None:
    sample = make_sample(image.shape[:2], classes=(1, 3))
    with pytest.raises(ValueError, match='the sample has class 3, but there are only the 2 classes background, cat'):
        prediction_panel(image, sample, ['background', 'cat'], [(0, 0, 0), (9, 9, 9)])


def test_maps_of_another_size_are_refused(image: np.ndarray, make_sample: Sample, palette: list) -> None:
    with pytest.raises(ValueError, match=r'the image is \(24, 30\) pixels \(height, width\), the map \(30, 24\)'):
        prediction_row(image, make_sample((30, 24)), palette)
