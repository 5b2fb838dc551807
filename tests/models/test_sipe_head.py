"""The head against ``sipe_reference.py`` over several pyramids; who learns from what; its messages."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import LabelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from sipe_mmseg.models.prototypes import validity_maps

K = 3
CROP = (64, 48)
LABELS = [[1, 0, 1], [0, 1, 0]]
BOXES = [[0, 64, 0, 48], [9, 50, 17, 40]]
# Channels, (h, w) of each map, grid_index, (h, w) of the grid
PYRAMIDS = {
    'as published': ((3, 4, 5, 6), ((16, 12), (8, 6), (4, 3), (4, 3)), -2, (4, 3)),
    'last map smaller than the grid': ((3, 4, 5, 6), ((16, 12), (8, 6), (4, 3), (3, 2)), 2, (4, 3)),
    'one stride': ((4, 4, 4, 4), ((4, 3),) * 4, -2, (4, 3)),
    'grid of the first': ((3, 4), ((8, 6), (4, 3)), 0, (8, 6)),
    'a single map': ((5,), ((4, 3),), -1, (4, 3)),
}
pyramids = pytest.mark.parametrize(
    ('channels', 'sizes', 'grid_index', 'grid'), list(PYRAMIDS.values()), ids=list(PYRAMIDS)
)


def build(channels: Sequence[int] = (3, 4, 5, 6), **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    config = dict(
        type='SIPEHead',
        in_channels=list(channels),
        side_channels=[2 + index for index in range(len(channels))],
        num_classes=K + 1,
        loss_gsc=dict(type='GSCLoss'),
    )
    return MODELS.build(dict(config, **changes))


def draw(channels: Sequence[int] = (3, 4, 5, 6), sizes: Sequence = PYRAMIDS['as published'][1], n: int = 2) -> list:
    torch.manual_seed(1)
    return [torch.randn(n, c, *size).relu().requires_grad_() for c, size in zip(channels, sizes, strict=True)]


def samples(labels: Sequence[Sequence[int]] = LABELS, boxes: Sequence[Sequence[int]] = BOXES) -> list[SegDataSample]:
    packed = []
    for label, box in zip(labels, boxes, strict=True):
        sample = SegDataSample()
        multi_hot = LabelData(multi_hot=torch.tensor(label, dtype=torch.float32))
        sample.set_data(dict(image_labels=multi_hot, valid_box=torch.tensor(box)))
        packed.append(sample)
    return packed


def close(found: Tensor, expected: Any, atol: float = 1e-5) -> None:
    expected = torch.stack(list(expected)) if not isinstance(expected, Tensor) else expected
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-4, atol=atol)


def slow_features(reference: ModuleType, head: nn.Module, maps: list[Tensor], grid: tuple) -> list[dict[str, Tensor]]:
    """What the head's ``forward`` should give, one dict an image, in float64."""
    classifier = head.classifier.weight.double()[:, :, 0, 0]
    sides = [side.weight.double()[:, :, 0, 0] for side in head.side_projections]
    found = []
    for index in range(len(maps[0])):
        image = [m[index].double() for m in maps]
        logits = reference.project(image[-1], classifier)
        projections = [reference.project(m.detach(), side) for m, side in zip(image, sides, strict=True)]
        found.append(
            dict(
                logits=reference.bilinear(logits, grid),
                scores=logits.flatten(1).mean(dim=1),
                hierarchical=reference.hierarchical_feature(projections, grid),
                deepest=reference.bilinear(image[-1], grid),
            )
        )
    return found


class TestForward:
    @pyramids
    def test_is_the_reference(
        self, reference: ModuleType, channels: tuple, sizes: tuple, grid_index: int, grid: tuple
    ) -> None:
        head, maps = build(channels, grid_index=grid_index), draw(channels, sizes)
        features, expected = head(maps), slow_features(reference, head, maps, grid)
        for name in ('logits', 'scores', 'hierarchical', 'deepest'):
            close(getattr(features, name), [image[name] for image in expected])

    def test_in_index_picks_maps(self) -> None:
        maps = draw()
        for found, expected in zip(
            build((4, 6), in_index=[1, 3])(maps), build((4, 6))([maps[1], maps[3]]), strict=True
        ):
            assert torch.equal(found, expected)

    def test_in_index_counts_from_the_end_too(self) -> None:
        maps = draw()
        for found, expected in zip(
            build((4, 6), in_index=[-3, -1])(maps), build((4, 6), in_index=[1, 3])(maps), strict=True
        ):
            assert torch.equal(found, expected)

    def test_layers_are_those_of_the_paper(self) -> None:
        head = build((256, 512, 1024, 2048), side_channels=(128, 128, 256, 256), num_classes=21)
        assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
            'classifier.weight': (20, 2048, 1, 1),
            'side_projections.0.weight': (128, 256, 1, 1),
            'side_projections.1.weight': (128, 512, 1, 1),
            'side_projections.2.weight': (256, 1024, 1, 1),
            'side_projections.3.weight': (256, 2048, 1, 1),
        }
        assert not any(isinstance(module, nn.Dropout) for module in head.modules())

    def test_starts_from_pytorchs_initialisation(self) -> None:
        head = build((256, 512, 1024, 2048))
        torch.manual_seed(0)
        expected = nn.Conv2d(2048, K, 1, bias=False).weight
        head.init_weights()
        assert torch.equal(head.classifier.weight, expected)

    def test_defaults_are_the_published_constants(self) -> None:
        head = MODELS.build(dict(type='SIPEHead', in_channels=[8, 8, 8, 8], num_classes=21))
        assert [side.out_channels for side in head.side_projections] == [128, 128, 256, 256]
        assert (head.alpha, head.alpha_on, head.eps, head.grid_index) == (0.5, 'similarity', 1e-5, -2)
        assert (head.num_classes, head.out_channels, head.align_corners) == (21, 21, False)


class TestLoss:
    @pyramids
    @pytest.mark.parametrize('alpha_on', ['similarity', 'map'])
    def test_losses_and_gradients_are_the_references(
        self, reference: ModuleType, channels: tuple, sizes: tuple, grid_index: int, grid: tuple, alpha_on: str
    ) -> None:
        head, maps = build(channels, grid_index=grid_index, alpha_on=alpha_on, alpha=0.6), draw(channels, sizes)
        losses = head.loss(maps, samples(), CROP)
        features = slow_features(reference, head, maps, grid)
        explored = [
            reference.training_maps(
                image['logits'],
                image['deepest'],
                image['hierarchical'],
                reference.validity(label, box, CROP, grid).double(),
                0.6,
                alpha_on,
            )
            for image, label, box in zip(features, LABELS, BOXES, strict=True)
        ]
        expected = dict(
            loss_cls=reference.classification_loss_of_images([image['scores'] for image in features], LABELS),
            loss_gsc=reference.gsc_loss_of_images([m[0] for m in explored], [m[3] for m in explored]),
        )
        assert set(losses) == set(expected)
        for name, loss in losses.items():
            assert loss.dtype == torch.float32
            close(loss, expected[name], 1e-6)
        learning = list(head.parameters())
        for found, slow in zip(
            torch.autograd.grad(sum(losses.values()), learning),
            torch.autograd.grad(sum(expected.values()), learning),
            strict=True,
        ):
            close(found, slow)
            assert found.any()

    def test_backbone_learns_through_the_classifier_alone(self) -> None:
        head, maps = build(), draw()
        features = head(maps)
        features.logits.retain_grad()
        losses = head.loss_by_feat(features, torch.tensor(LABELS).float(), torch.tensor(BOXES), CROP)
        losses['loss_gsc'].backward()
        assert [m.grad is None for m in maps] == [True, True, True, False]
        through_classifier = torch.einsum('kd,nkhw->ndhw', head.classifier.weight[:, :, 0, 0], features.logits.grad)
        close(maps[3].grad, through_classifier)
        assert through_classifier.any()

    def test_both_maps_learn_from_the_consistency(self) -> None:
        head, maps = build(), draw()
        head.loss(maps, samples(), CROP)['loss_gsc'].backward()
        assert head.classifier.weight.grad.any()
        assert all(side.weight.grad.any() for side in head.side_projections)

    def test_side_projections_learn_nothing_from_the_classification(self) -> None:
        head, maps = build(), draw()
        head.loss(maps, samples(), CROP)['loss_cls'].backward()
        assert head.classifier.weight.grad.any()
        assert all(side.weight.grad is None for side in head.side_projections)

    def test_weights_of_the_losses(self) -> None:
        maps = draw()
        plain = build().loss(maps, samples(), CROP)
        weighed = build(
            loss_cls=dict(type='MultiLabelSoftMarginLoss', loss_weight=3.0),
            loss_gsc=dict(type='GSCLoss', loss_weight=0.25),
        ).loss(maps, samples(), CROP)
        close(weighed['loss_cls'], 3.0 * plain['loss_cls'])
        close(weighed['loss_gsc'], 0.25 * plain['loss_gsc'])

    def test_without_consistency_the_side_projections_stay_as_initialised(self) -> None:
        head, maps = build(loss_gsc=None), draw()
        before = {name: p.detach().clone() for name, p in head.named_parameters()}
        wrapper = build_optim_wrapper(
            head,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)),
        )
        for _ in range(2):
            losses = head.loss(maps, samples(), CROP)
            assert set(losses) == {'loss_cls'}
            wrapper.update_params(sum(losses.values()))
        # Several processes would wait for gradients of parameters that nothing uses.
        assert [name for name, p in head.named_parameters() if p.requires_grad] == ['classifier.weight']
        changed = {name for name, p in head.named_parameters() if not torch.equal(p, before[name])}
        assert changed == {'classifier.weight'}

    @pytest.mark.parametrize('present', [0, 1])
    def test_background_only_batch_and_images_with_all_classes(self, present: int) -> None:
        head, maps = build(), draw()
        losses = head.loss(maps, samples([[present] * K] * 2), CROP)
        sum(losses.values()).backward()
        assert all(torch.isfinite(loss) for loss in losses.values())
        for parameter in (*head.parameters(), maps[-1]):
            assert torch.isfinite(parameter.grad).all()
        assert head.classifier.weight.grad.any()

    def test_dead_maps_give_finite_losses_and_gradients(self) -> None:
        head, maps = build(), [torch.zeros_like(m).requires_grad_() for m in draw()]
        losses = head.loss(maps, samples(), CROP)
        sum(losses.values()).backward()
        for value in (*losses.values(), *(p.grad for p in head.parameters())):
            assert torch.isfinite(value).all()

    def test_maps_of_one_cell(self) -> None:
        head, maps = build(), draw(sizes=((4, 4), (2, 2), (1, 1), (1, 1)))
        losses = head.loss(maps, samples(), (16, 16))
        sum(losses.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())


class TestLocalize:
    def test_absent_classes_are_zero_and_permuting_classes_permutes_everything(self) -> None:
        head, maps = build(), draw()
        labels, boxes, order = torch.tensor(LABELS).float(), torch.tensor(BOXES), torch.tensor([2, 0, 1])
        found = head.localize(head(maps), validity_maps(labels, boxes, CROP, (4, 3)))
        for kind in found:
            for image, label in zip(kind, LABELS, strict=True):
                assert [bool(image[1 + k].any()) for k in range(K)] <= [bool(present) for present in label]
        with torch.no_grad():
            head.classifier.weight.copy_(head.classifier.weight[order].clone())
        permuted = head.localize(head(maps), validity_maps(labels[:, order], boxes, CROP, (4, 3)))
        keys = torch.cat([torch.tensor([0]), 1 + order])
        for before, after in zip(found, permuted, strict=True):
            close(after, before[:, keys])

    def test_seeds_carry_no_gradient(self) -> None:
        head, maps = build(), draw()
        found = head.localize(head(maps), torch.ones(2, K + 1, 4, 3))
        assert [kind.requires_grad for kind in found] == [True, False, True, True]


class TestPredict:
    @pyramids
    @pytest.mark.parametrize('alpha_on', ['similarity', 'map'])
    def test_is_the_reference(
        self, reference: ModuleType, channels: tuple, sizes: tuple, grid_index: int, grid: tuple, alpha_on: str
    ) -> None:
        head, maps = build(channels, grid_index=grid_index, alpha_on=alpha_on), draw(channels, sizes)
        found, used, probabilities = head.predict(maps, torch.tensor(LABELS).float())
        features = slow_features(reference, head, maps, grid)
        expected = [
            reference.inference_maps(image['logits'], image['hierarchical'], label, alpha_on=alpha_on)
            for image, label in zip(features, LABELS, strict=True)
        ]
        for fast, slow in zip(found, zip(*expected, strict=True), strict=True):
            close(fast, slow)
        assert used.tolist() == LABELS
        close(probabilities, [1 / (1 + torch.exp(-image['scores'])) for image in features])

    def test_mirrored_is_the_reference(self, reference: ModuleType) -> None:
        head, maps = build(), draw(n=4)  # two images, then what stands for their mirrors
        found, _, probabilities = head.predict(maps, torch.tensor(LABELS).float(), mirrored=True)
        features = slow_features(reference, head, maps, (4, 3))
        for index, label in enumerate(LABELS):
            image, mirror = features[index], features[index + 2]
            logits = image['logits'] + mirror['logits'].flip(-1)
            hierarchical = image['hierarchical'] + mirror['hierarchical'].flip(-1)
            expected = reference.inference_maps(logits, hierarchical, label)
            for fast, slow in zip(found, expected, strict=True):
                close(fast[index], slow)
            close(probabilities[index], 1 / (1 + torch.exp(-image['scores'])))

    def test_absent_classes_compete_for_seeds_and_then_drop_out(self) -> None:
        head, maps = build(), draw()
        everything = head.predict(maps, torch.ones(2, K))[0]
        labels = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        found = head.predict(maps, labels)[0]
        present = torch.cat([torch.ones(2, 1), labels], dim=1)[:, :, None, None]
        assert torch.equal(found.cam, everything.cam)
        assert torch.equal(found.seeds, everything.seeds * present)
        assert not torch.equal(found.seeds, everything.seeds)
        assert torch.equal(found.is_cam, everything.is_cam * present)

    def test_classifiers_own_labels_are_those_above_the_threshold(self) -> None:
        head, maps = build(), draw()
        probabilities = head.predict(maps, None)[2]
        ranked = probabilities.flatten().sort(descending=True).values.tolist()
        for threshold in (0.5, ranked[0], (ranked[2] + ranked[3]) / 2, 0.0):
            found, used, _ = head.predict(maps, None, score_threshold=threshold)
            assert used.tolist() == [[float(p > threshold) for p in row] for row in probabilities.tolist()]
            given, _, _ = head.predict(maps, used)
            assert all(torch.equal(a, b) for a, b in zip(found, given, strict=True))
        assert [int((probabilities > t).sum()) for t in (ranked[0], (ranked[2] + ranked[3]) / 2, 0.0)] == [0, 3, 6]
        assert torch.equal(head.predict(maps, None)[1], (probabilities > 0.5).float())


class TestMixedPrecision:
    def test_losses_are_float32_and_close_to_those_without(self) -> None:
        head, maps = build(), draw()
        expected = head.loss(maps, samples(), CROP)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = head.loss(maps, samples(), CROP)
        for name, loss in losses.items():
            assert loss.dtype == torch.float32
            assert float(loss.detach()) == pytest.approx(float(expected[name].detach()), abs=0.03)
        sum(losses.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())

    def test_nothing_behind_the_convolutions_is_in_low_precision(self) -> None:
        head, maps = build(), draw()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            features = head([m.bfloat16() for m in maps])
            found, _, probabilities = head.predict_by_feat(features, torch.tensor(LABELS).float())
        outside, _, _ = head.predict_by_feat(features, torch.tensor(LABELS).float())
        assert {value.dtype for value in (*features, *found, probabilities)} == {torch.float32}
        assert all(torch.equal(a, b) for a, b in zip(found, outside, strict=True))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = head.loss_by_feat(features, torch.tensor(LABELS).float(), torch.tensor(BOXES), CROP)
        outside = head.loss_by_feat(features, torch.tensor(LABELS).float(), torch.tensor(BOXES), CROP)
        for name, loss in losses.items():
            assert torch.equal(loss, outside[name])


class TestMessages:
    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (
                dict(side_channels=[2, 3]),
                r'decode_head\.in_channels has 4 entries, side_channels has 2: each map needs one of both',
            ),
            (dict(in_index=[0, 1]), r'decode_head\.in_index has 2 entries, in_channels has 4'),
            (dict(grid_index=4), r'decode_head\.grid_index=4 is none of the 4 maps'),
            (dict(grid_index=-5), r'decode_head\.grid_index=-5 is none of the 4 maps'),
        ],
    )
    def test_arguments_that_do_not_fit_each_other(self, changes: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build(**changes)

    def test_single_map_needs_another_grid_index(self) -> None:
        with pytest.raises(ValueError, match='with a single map use grid_index=-1'):
            build((5,))

    def test_unknown_alpha_on(self) -> None:
        with pytest.raises(ValueError, match="alpha_on='seeds'"):
            build(alpha_on='seeds').loss(draw(), samples(), CROP)

    def test_wrong_in_channels(self) -> None:
        with pytest.raises(
            ValueError,
            match=r'decode_head\.in_channels=\(3, 4, 5, 7\), but the maps of the backbone have \(3, 4, 5, 6\) channels'
            r': in_channels=\(3, 4, 5, 6\) would fit',
        ):
            build((3, 4, 5, 7))(draw())

    @pytest.mark.parametrize(('in_index', 'asked'), [([0, 1, 2, 4], 4), ([0, 1, 2, -5], -5)])
    def test_map_that_the_backbone_does_not_return(self, in_index: list, asked: int) -> None:
        with pytest.raises(
            ValueError,
            match=rf'asks for map {asked}, but the backbone returns 4 maps: change in_index or the out_indices',
        ):
            build(in_index=in_index)(draw())

    def test_fewer_maps_than_in_channels(self) -> None:
        with pytest.raises(ValueError, match='asks for map 3, but the backbone returns 3 maps'):
            build()(draw()[:3])

    def test_other_number_of_classes_than_the_data_set_in_training(self) -> None:
        with pytest.raises(
            ValueError,
            match=r'decode_head\.num_classes=4, background included, but the data set has 5 foreground classes: '
            'num_classes=6 would fit',
        ):
            build().loss(draw(), samples([[1, 0, 0, 0, 1]] * 2), CROP)

    def test_other_number_of_classes_than_the_data_set_in_prediction(self) -> None:
        with pytest.raises(
            ValueError, match=r'decode_head\.num_classes=4, .* 2 foreground classes: num_classes=3 would fit'
        ):
            build().predict(draw(), torch.ones(2, 2))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(alpha_on='maps'), r"decode_head.alpha_on='maps': use 'similarity'"),
        (dict(num_classes=1), r'decode_head.num_classes=1: background and at least one class make 2'),
        (dict(align_corners=True), r'decode_head.align_corners=True'),
    ],
)
def test_wrong_options_are_refused_when_the_head_is_built(changes: dict, message: str) -> None:
    options = dict(in_channels=[4, 4], side_channels=[2, 2], num_classes=3)
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='SIPEHead', **(options | changes)))
