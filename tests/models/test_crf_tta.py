"""Multi-scale prediction with a CRF: the mean of the softmax as in mmseg, then the CRF on the image of the file."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from sipe_mmseg.refinement import dense_crf_probabilities


class Segmentor(nn.Module):
    out_channels = 3

    def test_step(self, data):
        raise NotImplementedError


def sample(logits, path):
    return SegDataSample(metainfo=dict(img_path=str(path)), seg_logits=PixelData(data=logits))


@pytest.fixture
def image(tmp_path):
    """Left half red, right half blue."""
    pixels = np.zeros((12, 16, 3), dtype=np.uint8)
    pixels[:, :8, 0] = pixels[:, 8:, 2] = 220
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    return pixels, tmp_path / 'image.png'


def test_is_the_crf_of_the_mean(image):
    pytest.importorskip('pydensecrf', reason="needs the extra 'crf'")
    pixels, path = image
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 12, 16, generator=generator) for _ in range(3)]
    settings = dict(bilateral_sxy=20, iterations=3)
    model = MODELS.build(dict(type='CRFSegTTAModel', module=Segmentor(), crf=settings))
    (merged,) = model.merge_preds([[sample(logits, path) for logits in parts]])
    mean = sum(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=0) for logits in parts) / 3
    expected = dense_crf_probabilities(pixels, mean, **settings).argmax(axis=0)
    assert merged.pred_sem_seg.data.shape == (1, 12, 16)
    np.testing.assert_array_equal(merged.pred_sem_seg.data[0].numpy(), expected)
    assert (expected != mean.argmax(axis=0)).any()


def test_follows_the_edges_of_the_image(image):
    pytest.importorskip('pydensecrf', reason="needs the extra 'crf'")
    _, path = image
    logits = torch.zeros(3, 12, 16)
    logits[1, :, :10] = 2.0  # two columns too far
    logits[2, :, 10:] = 2.0
    model = MODELS.build(dict(type='CRFSegTTAModel', module=Segmentor()))
    (merged,) = model.merge_preds([[sample(logits, path)]])
    labels = merged.pred_sem_seg.data[0]
    assert (labels[:, :8] == 1).all()
    assert (labels[:, 8:] == 2).all()
