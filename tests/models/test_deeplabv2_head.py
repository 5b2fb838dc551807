"""The head of DeepLabV2, held against convolutions written out, and its learning rates in the config."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

CONFIGS = Path(__file__).parents[2] / 'configs'


def build(**changes):
    torch.manual_seed(0)
    head = MODELS.build({**dict(type='DeepLabV2Head', in_channels=6, in_index=1, num_classes=4), **changes})
    head.init_weights()
    return head


def test_is_the_sum_of_its_dilated_convolutions():
    head = build(dilations=(1, 3)).double()
    maps = [torch.randn(2, 5, 9, 8).double(), torch.randn(2, 6, 9, 8).double()]
    expected = torch.zeros(2, 4, 9, 8).double()
    for classifier, dilation in zip(head.classifiers, (1, 3), strict=True):
        padded = F.pad(maps[1], [dilation] * 4)
        for y in range(9):
            for x in range(8):
                patch = padded[:, :, y : y + 2 * dilation + 1 : dilation, x : x + 2 * dilation + 1 : dilation]
                expected[:, :, y, x] += torch.einsum('ncij,kcij->nk', patch, classifier.weight) + classifier.bias
    torch.testing.assert_close(head(maps), expected)


def test_starts_as_published_and_has_no_other_classifier():
    head = build(in_channels=512)
    assert [conv.dilation for conv in head.classifiers] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    weights = torch.cat([conv.weight.flatten() for conv in head.classifiers])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert all((conv.bias == 0).all() for conv in head.classifiers)
    assert {name.split('.')[0] for name, _ in head.named_parameters()} == {'classifiers'}


def test_unknown_pixels_teach_nothing_and_do_not_count():
    loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    head = build(loss_decode=loss)
    maps = [torch.randn(1, 5, 4, 4), torch.randn(1, 6, 4, 4)]
    logits = head(maps)
    labels = torch.randint(0, 4, (1, 1, 4, 4))
    labels[..., :2] = 255
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels[0]))
    found = head.loss_by_feat(logits, [sample])['loss_ce']
    expected = F.cross_entropy(logits[..., 2:], labels[:, 0, :, 2:])
    torch.testing.assert_close(found, expected)


def test_dropout_is_an_option():
    head = build(dropout_ratio=0.5).train()
    maps = [torch.randn(1, 5, 4, 4), torch.ones(1, 6, 4, 4)]
    assert not torch.equal(head(maps), head(maps))
    assert torch.equal(build()(maps), build()(maps))


def test_no_dilations():
    with pytest.raises(ValueError, match='dilations: the head needs at least one'):
        build(dilations=())


def test_biases_learn_twenty_times_and_weights_ten_times_as_fast():
    config = Config.fromfile(CONFIGS / 'deeplabv2/deeplabv2_r101_1xb10-20k_voc12pseudo-321x321.py')
    model = nn.Module()
    model.backbone = nn.Conv2d(1, 1, 1)
    model.decode_head = build()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = {name: None for name, _ in model.named_parameters()}
    by_parameter = {id(group['params'][0]): group['lr'] for group in wrapper.optimizer.param_groups}
    for name, parameter in model.named_parameters():
        rates[name] = by_parameter[id(parameter)]
    for name, rate in rates.items():
        factor = 1 if name.startswith('backbone') else 20 if name.endswith('bias') else 10
        assert rate == pytest.approx(2.5e-4 * factor), name
