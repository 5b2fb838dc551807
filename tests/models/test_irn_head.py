"""IRN's head: the published network written out map by map, other pyramids, losses, and errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from sipe_mmseg.models.affinity_loss import affinity_loss
from sipe_mmseg.models.displacement_loss import displacement_loss
from sipe_mmseg.models.irn_head import IRNHead, nearest_labels

SMALL: dict[str, Any] = dict(
    in_channels=[3, 4, 5, 6, 7],
    boundary_channels=4,
    boundary_groups=2,
    displacement_channels=[4, 6, 8, 8, 8],
    displacement_groups=[2, 3, 4, 4, 4],
    joint_channels=8,
    joint_groups=4,
    num_classes=4,
)
FOUR_MAPS: dict[str, Any] = dict(
    SMALL,
    in_channels=[3, 4, 5, 6],
    strides=[4, 8, 16, 32],
    displacement_channels=[6, 8, 8, 8],
    displacement_groups=[3, 4, 4, 4],
)


def build(seed: int = 0, **changes: Any) -> IRNHead:
    torch.manual_seed(seed)
    head = MODELS.build(dict(SMALL, type='IRNHead', **changes))
    for module in head.modules():  # so that a norm's place is not lost on a test
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.normal_(module.weight, 1, 0.3)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return head


def pyramid(channels: Sequence[int], strides: Sequence[int], size: tuple[int, int], images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(images, c, -(-size[0] // s), -(-size[1] // s), generator=generator)
        for c, s in zip(channels, strides, strict=True)
    ]


def enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


@pytest.mark.parametrize('size', [(64, 96), (70, 53), (33, 36)])
def test_boundary_branch_map_by_map(size: tuple[int, int]) -> None:
    head = build()
    x1, x2, x3, x4, x5 = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), size)
    height, width = x2.shape[-2:]
    e1, e2, e3, e4, e5 = (layer(x) for layer, x in zip(head.boundary_layers, (x1, x2, x3, x4, x5), strict=True))
    joined = [
        e1.clamp_min(0),
        e2.clamp_min(0),
        enlarged(e3, 2).clamp_min(0)[:, :, :height, :width],
        enlarged(e4, 4).clamp_min(0)[:, :, :height, :width],
        enlarged(e5, 4).clamp_min(0)[:, :, :height, :width],
    ]
    expected = head.boundary_output(torch.cat(joined, dim=1))
    assert expected.shape == (2, 1, height, width)
    torch.testing.assert_close(head.boundary([x1, x2, x3, x4, x5]), expected)
    torch.testing.assert_close(head([x1, x2, x3, x4, x5]).boundary_logits, expected)


@pytest.mark.parametrize('size', [(64, 96), (70, 53), (33, 36)])
def test_displacement_branch_map_by_map(size: tuple[int, int]) -> None:
    head = build()
    x1, x2, x3, x4, x5 = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), size)
    (h2, w2), (h3, w3) = x2.shape[-2:], x3.shape[-2:]
    d1, d2, d3, d4, d5 = (layer(x) for layer, x in zip(head.displacement_layers, (x1, x2, x3, x4, x5), strict=True))
    d4, d5 = (enlarged(d, 2).clamp_min(0)[:, :, :h3, :w3] for d in (d4, d5))
    deep = head.displacement_deep(torch.cat([d3.clamp_min(0), d4, d5], dim=1))
    deep = enlarged(deep, 2).clamp_min(0)[:, :, :h2, :w2]
    joint = head.displacement_joint(torch.cat([d1.clamp_min(0), d2.clamp_min(0), deep], dim=1)).clamp_min(0)
    expected = head.displacement_output(joint)
    assert expected.shape == (2, 2, h2, w2)
    torch.testing.assert_close(head.displacement([x1, x2, x3, x4, x5]), expected)


def test_enlarging_comes_before_the_relu() -> None:
    """The other way round is another network: both would agree if nothing were negative."""
    head = build()
    maps = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), (64, 64))
    found = head.boundary(maps)
    joined = [enlarged(layer(x).relu(), 64 // 4 // x.shape[-1]) for layer, x in zip(head.boundary_layers, maps)]  # noqa: B905
    assert (head.boundary_output(torch.cat(joined, dim=1)) - found).abs().max() > 1e-2


def test_the_defaults_are_the_published_network() -> None:
    head = MODELS.build(dict(type='IRNHead', num_classes=21))
    shapes = {name: tuple(p.shape[:2]) for name, p in head.named_parameters() if p.ndim == 4}
    maps = (64, 256, 512, 1024, 2048)
    expected = {f'boundary_layers.{i}.0.weight': (32, c) for i, c in enumerate(maps)}
    widths = zip(maps, (64, 128, 256, 256, 256), strict=True)
    expected |= {f'displacement_layers.{i}.0.weight': (w, c) for i, (c, w) in enumerate(widths)}
    expected |= {
        'boundary_output.weight': (1, 160),
        'displacement_deep.0.weight': (256, 768),
        'displacement_joint.0.weight': (256, 448),
        'displacement_output.weight': (2, 256),
    }
    assert shapes == expected
    biases = [name for name, module in head.named_modules() if getattr(module, 'bias', None) is not None]
    assert [name for name in biases if isinstance(head.get_submodule(name), torch.nn.Conv2d)] == ['boundary_output']
    groups = [module.num_groups for module in head.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert groups == [4] * 5 + [8, 16, 16, 16, 16] + [16, 16]


def test_mean_displacement_is_subtracted_only_at_test_time_and_is_in_the_checkpoint() -> None:
    head = build()
    maps = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), (32, 32))
    raw = head.train()(maps).displacement
    head.mean_displacement.copy_(torch.tensor([0.5, -2.0]))
    torch.testing.assert_close(head.train()(maps).displacement, raw)
    torch.testing.assert_close(head.eval()(maps).displacement, raw - torch.tensor([0.5, -2.0])[:, None, None])
    assert head.state_dict()['mean_displacement'].tolist() == [0.5, -2.0]


@pytest.mark.parametrize('size', [(64, 96), (70, 53)])
def test_another_pyramid(size: tuple[int, int]) -> None:
    """One map of stride 4, and one of stride 32: factors 1, 2, 4, 8 and, in the displacement branch, 1, 2, 4."""
    head = build(**{k: v for k, v in FOUR_MAPS.items() if SMALL.get(k) != v})
    maps = pyramid(FOUR_MAPS['in_channels'], FOUR_MAPS['strides'], size)
    (h, w), (h8, w8) = maps[0].shape[-2:], maps[1].shape[-2:]
    found = head(maps)
    joined = [
        enlarged(layer(x), f).relu()[:, :, :h, :w]
        for layer, x, f in zip(head.boundary_layers, maps, (1, 2, 4, 8), strict=True)
    ]
    torch.testing.assert_close(found.boundary_logits, head.boundary_output(torch.cat(joined, dim=1)))
    d = [layer(x) for layer, x in zip(head.displacement_layers, maps, strict=True)]
    deep = [enlarged(x, f).relu()[:, :, :h8, :w8] for x, f in zip(d[1:], (1, 2, 4), strict=True)]
    deep = enlarged(head.displacement_deep(torch.cat(deep, dim=1)), 2).relu()[:, :, :h, :w]
    joint = head.displacement_joint(torch.cat([d[0].relu(), deep], dim=1)).relu()
    torch.testing.assert_close(found.displacement, head.displacement_output(joint))


@pytest.mark.parametrize('strides', [(16, 16, 16, 16, 16), (8, 8, 8, 8, 8), (4, 4, 4, 4, 8), (8, 16, 16, 32, 32)])
def test_pyramids_without_some_strides(strides: tuple[int, ...]) -> None:
    """A plain ViT has stride 16 alone: the outputs have stride 4 all the same."""
    head = build(strides=strides)
    found = head(pyramid(SMALL['in_channels'], strides, (64, 96)))
    assert (found.boundary_logits.shape[-2:], found.displacement.shape[-2:]) == ((16, 24), (16, 24))
    sum(x.square().mean() for x in found).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters() if p.ndim == 4)


def test_in_index_chooses_maps() -> None:
    head = build(in_index=[0, 1, 2, 3, -1])
    maps = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), (32, 32))
    torch.testing.assert_close(head([*maps[:4], torch.zeros(1), maps[4]]), build()(maps))


class TestLabels:
    @pytest.mark.parametrize(
        ('size', 'grid'), [((512, 512), (128, 128)), ((320, 160), (80, 40)), ((37, 50), (10, 13)), ((33, 35), (9, 9))]
    )
    def test_each_cell_gets_the_label_that_pil_nearest_takes(
        self, size: tuple[int, int], grid: tuple[int, int]
    ) -> None:
        labels = np.random.default_rng(0).integers(256, size=size, dtype=np.uint8)
        expected = np.array(Image.fromarray(labels).resize(grid[::-1], Image.Resampling.NEAREST))
        found = nearest_labels(torch.from_numpy(labels)[None], grid)[0]
        assert found.dtype == torch.uint8
        np.testing.assert_array_equal(found.numpy(), expected)

    def test_at_stride_4_that_is_the_third_of_four_pixels(self) -> None:
        labels = torch.arange(8 * 12, dtype=torch.uint8).reshape(1, 8, 12)
        assert torch.equal(nearest_labels(labels, (2, 3)), labels[:, 2::4, 2::4])


def sample(labels: Tensor, **meta: Any) -> SegDataSample:
    found = SegDataSample(metainfo=meta)
    found.gt_sem_seg = PixelData(data=labels[None])
    return found


class TestLoss:
    def batch(self) -> tuple[list[Tensor], list[SegDataSample], Tensor]:
        labels = torch.randint(0, 5, (2, 8, 12), generator=torch.Generator().manual_seed(2)).to(torch.int64)
        labels = torch.where(labels == 4, 255, labels).repeat_interleave(8, 1).repeat_interleave(8, 2)
        maps = pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), (64, 96))
        return maps, [sample(each) for each in labels], labels

    def head(self) -> IRNHead:
        losses = {key: dict(type=name, radius=4) for key, name in LOSSES.items()}
        return build(**losses).train()

    def test_are_those_of_the_labels_at_stride_4(self) -> None:
        head, (maps, samples, labels) = self.head(), self.batch()
        found, features = head.loss(maps, samples), head(maps)
        small = labels[:, 2::4, 2::4]
        affinity = affinity_loss(features.boundary_logits, small, 4, 4)
        displacement = displacement_loss(features.displacement, small, 4, 4)
        expected = dict(
            loss_pos=affinity.positive / 2,
            loss_neg=affinity.negative / 2,
            loss_disp_fg=displacement.foreground / 2,
            loss_disp_bg=displacement.background / 2,
        )
        assert all(loss > 0 for loss in expected.values())
        torch.testing.assert_close(found, expected)

    def test_every_parameter_learns(self) -> None:
        head, (maps, samples, _) = self.head(), self.batch()
        sum(head.loss(maps, samples).values()).backward()
        assert [name for name, p in head.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []

    def test_half_precision_features_are_summed_in_single(self) -> None:
        head, (maps, samples, _) = self.head(), self.batch()
        exact = head.loss(maps, samples)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            found = head.loss(maps, samples)
        assert all(loss.dtype == torch.float32 for loss in found.values())
        for name, loss in found.items():
            assert float(loss.detach()) == pytest.approx(float(exact[name].detach()), rel=0.05)

    def test_unknown_values_are_named_with_their_file(self) -> None:
        head, (maps, samples, labels) = self.head(), self.batch()
        labels[1, 3, 5] = 17
        samples[1] = sample(labels[1], seg_map_path='labels/b.png')
        with pytest.raises(ValueError, match=r'labels/b\.png holds the value 17, .* 4 classes \(0 to 3\) nor unknown'):
            head.loss(maps, samples)

    def test_samples_without_labels(self) -> None:
        head, (maps, samples, _) = self.head(), self.batch()
        samples[1] = SegDataSample(metainfo=dict(img_path='b.jpg'))
        with pytest.raises(ValueError, match=r'b\.jpg comes without IR labels: .*LoadAnnotations'):
            head.loss(maps, samples)


LOSSES = dict(loss_affinity='AffinityLoss', loss_displacement='DisplacementLoss')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_classes=1), 'num_classes=1: background and at least one class'),
        (dict(align_corners=True), 'align_corners=True'),
        (dict(strides=[4, 8, 16]), 'in_channels has 5 entries, strides has 3'),
        (dict(displacement_channels=[8]), 'in_channels has 5 entries, displacement_channels has 1'),
        (dict(in_index=[0]), 'in_channels has 5 entries, in_index has 1'),
        (dict(strides=[2, 4, 8, 16, 16]), 'use 4 and multiples of 8'),
        (dict(strides=[4, 4, 8, 16, 14]), 'use 4 and multiples of 8'),
        (dict(strides=[16, 4, 8, 16, 16]), 'shallow to deep'),
        (dict(strides=[4, 4, 4, 4, 4]), 'at least one map must be deeper than stride 4'),
    ],
)
def test_wrong_arguments(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_maps_of_other_channels_strides_or_number() -> None:
    head = build()
    with pytest.raises(ValueError, match=r'have \(3, 4, 5, 6, 8\) channels: in_channels=\(3, 4, 5, 6, 8\) would fit'):
        head(pyramid([3, 4, 5, 6, 8], (4, 4, 8, 16, 16), (64, 64)))
    with pytest.raises(ValueError, match=r'strides=\(4, 4, 8, 16, 16\), but .* sizes \[\(16, 16\).*\(2, 2\)\]'):
        head(pyramid(SMALL['in_channels'], (4, 4, 8, 16, 32), (64, 64)))
    with pytest.raises(ValueError, match='asks for map 4, but the backbone returns 4 maps'):
        head(pyramid(SMALL['in_channels'], (4, 4, 8, 16, 16), (64, 64))[:4])
