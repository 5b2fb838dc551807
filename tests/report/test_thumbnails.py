"""Small pictures in data URIs, read back."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.report.thumbnails import image_thumbnail, image_uri, label_thumbnail, labels_uri, thumbnail_size


def opened(uri: str) -> Image.Image:
    head, data = uri.split(',')
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert head == f'data:image/{picture.format.lower()};base64'
    return picture


def test_sizes() -> None:
    assert thumbnail_size((300, 600), 160) == (160, 80)
    assert thumbnail_size((600, 300), 160) == (80, 160)
    assert thumbnail_size((20, 30), 160) == (30, 20), 'small pictures stay as they are'
    assert thumbnail_size((1, 5000), 100) == (100, 1)


def test_image_keeps_its_colours() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, :45] = (200, 30, 30)
    image[:, 45:] = (20, 30, 220)
    picture = opened(image_uri(image_thumbnail(image, 30)))
    assert (picture.format, picture.size) == ('JPEG', (30, 20))
    pixels = np.asarray(picture, int)
    assert np.abs(pixels[5, 5] - (200, 30, 30)).max() < 20 and np.abs(pixels[5, 25] - (20, 30, 220)).max() < 20


@pytest.mark.parametrize('num_classes', [2, 17, 255])
def test_label_map_keeps_every_colour_and_makes_none(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    palette = rng.permutation(200**3)[:num_classes]
    palette = np.stack([palette // 200**2, palette // 200 % 200, palette % 200], axis=1).tolist()
    values = np.array([*range(num_classes), 255], np.uint8)
    labels = np.tile(values, (40, 1))
    small = label_thumbnail(labels, 160)
    assert small.shape == (round(40 * min(1, 160 / labels.shape[1])), min(160, labels.shape[1]))
    picture = opened(labels_uri(small, palette))
    expected = np.array([*palette, *[[255] * 3] * (256 - num_classes)], np.uint8)[small]
    np.testing.assert_array_equal(np.asarray(picture.convert('RGB')), expected)


def test_label_thumbnail_takes_the_middle() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[1::3, 1::3] = np.arange(1, 10).reshape(3, 3)
    np.testing.assert_array_equal(label_thumbnail(labels, 3), np.arange(1, 10).reshape(3, 3))
