"""What must be true of ``prototypes.py`` for any input: hypothesis draws sizes and seeds, the same ones every time."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sipe_mmseg.models.gsc_loss import gsc_loss
from sipe_mmseg.models.multi_scale_fusion import fuse_scales
from sipe_mmseg.models.prototypes import (
    class_activation_maps,
    hierarchical_feature,
    image_specific_cams,
    image_specific_prototypes,
    norm_over_channels,
    normalize_by_max,
    resize_bilinear,
    soft_iou,
    structure_aware_seeds,
    validity_maps,
)

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]
drawn = settings(derandomize=True, deadline=None, database=None, max_examples=8)
few = settings(drawn, max_examples=3)


class Scene(NamedTuple):
    """What the mathematics starts from: float64, random, with some dead cells and some absent classes."""

    logits: Tensor
    """(N, K, h, w)"""
    deepest: Tensor
    """(N, D, h, w)"""
    hierarchical: Tensor
    """(N, E, h, w)"""
    valid: Tensor
    """(N, K + 1, h, w): a box inside the grid; background and the present classes."""

    def to(self, *args: torch.dtype | str) -> 'Scene':
        return Scene(*(each.to(*args) for each in self))

    def changed(self, change: Callable[[Tensor], Tensor]) -> 'Scene':
        return Scene(*(change(each) for each in self))


class Found(NamedTuple):
    cam: Tensor
    similarity: Tensor
    seeds: Tensor
    prototypes: Tensor
    is_cam: Tensor


def make_scene(images: int, classes: int, height: int, width: int, channels: int, seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def whole(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    logits, deepest, hierarchical = (
        draw(images, depth, height, width) for depth in (classes, channels, channels + whole(3))
    )
    valid = torch.zeros(images, classes + 1, height, width, dtype=torch.float64)
    for image in range(images):
        top, left = whole(height), whole(width)
        bottom, right = top + 1 + whole(height - top), left + 1 + whole(width - left)
        present = torch.rand(classes + 1, generator=generator) < 0.7
        present[0] = True
        valid[image, present, top:bottom, left:right] = 1
        for features in (deepest, hierarchical):
            if whole(2):
                features[image, :, whole(height), whole(width)] = 0
    return Scene(logits, deepest, hierarchical, valid)


def scenes(min_images: int = 1, min_classes: int = 1) -> st.SearchStrategy[Scene]:
    return st.builds(
        make_scene,
        images=st.integers(min_images, 3),
        classes=st.integers(min_classes, 5),
        height=st.integers(1, 6),
        width=st.integers(1, 6),
        channels=st.integers(1, 6),
        seed=st.integers(0, 10_000),
    )


def explore(scene: Scene) -> Found:
    """Sections 2 to 4 in a row, as in training."""
    cam = class_activation_maps(scene.logits) * scene.valid
    seeds = structure_aware_seeds(scene.deepest, cam, scene.valid)
    prototypes = image_specific_prototypes(scene.hierarchical, seeds)
    return Found(
        cam, soft_iou(scene.deepest, cam), seeds, prototypes, image_specific_cams(scene.hierarchical, prototypes)
    )


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], atol: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=atol)


def order(count: int, seed: int = 5) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


class TestWholePath:
    @drawn
    @given(scenes(min_images=2))
    def test_permuting_images_permutes_everything(self, scene: Scene) -> None:
        turned = order(len(scene.logits))
        found = explore(scene.changed(lambda each: each[turned]))
        close(found, tuple(each[turned] for each in explore(scene)))

    @drawn
    @given(scenes(min_classes=2))
    def test_permuting_classes_permutes_everything(self, scene: Scene) -> None:
        turned = order(scene.logits.shape[1])
        keys = torch.cat([torch.zeros(1, dtype=torch.long), 1 + turned])
        found = explore(scene._replace(logits=scene.logits[:, turned], valid=scene.valid[:, keys]))
        close(found, tuple(each[:, keys] for each in explore(scene)))

    @pytest.mark.parametrize('turn', [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
    @few
    @given(scene=scenes())
    def test_a_mirrored_or_turned_image_gives_mirrored_or_turned_maps(
        self, turn: Callable[[Tensor], Tensor], scene: Scene
    ) -> None:
        expected = explore(scene)
        expected = Found(*(each if each is expected.prototypes else turn(each) for each in expected))
        close(explore(scene.changed(turn)), expected)

    @drawn
    @given(scenes(), st.sampled_from([1e3, 1e6, 1e15]))
    def test_scale_of_features_does_not_matter(self, scene: Scene, factor: float) -> None:
        # 1e3 first, so that the guard of 1e-5 no longer tells.
        scene = scene._replace(deepest=scene.deepest * 1e3, hierarchical=scene.hierarchical * 1e3)
        each_its_own = torch.linspace(1, 9, scene.deepest[0, 0].numel()).view(scene.deepest.shape[2:]).double()
        larger = scene._replace(deepest=scene.deepest * factor * each_its_own, hierarchical=scene.hierarchical * factor)
        expected = explore(scene)
        close(explore(larger), expected._replace(prototypes=expected.prototypes * factor), atol=1e-6)

    @drawn
    @given(scenes(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
    def test_dead_padding_changes_nothing_inside(
        self, scene: Scene, left: int, right: int, top: int, bottom: int
    ) -> None:
        height, width = scene.logits.shape[-2:]
        padded = explore(scene.changed(lambda each: F.pad(each, (left, right, top, bottom))))
        inside = Found(
            *(
                each if each is padded.prototypes else each[..., top : top + height, left : left + width]
                for each in padded
            )
        )
        expected = explore(scene)
        share = height * width / ((height + top + bottom) * (width + left + right))
        close(inside, expected._replace(prototypes=expected.prototypes * share))
        for each in (padded.cam, padded.similarity, padded.seeds, padded.is_cam):
            assert each.count_nonzero() == each[..., top : top + height, left : left + width].count_nonzero()

    @drawn
    @given(scenes())
    def test_features_outside_the_image_are_in_no_prototype(self, scene: Scene) -> None:
        outside = scene.valid[:, :1] == 0
        other = torch.where(outside, 50.0, scene.hierarchical)
        close((explore(scene._replace(hierarchical=other)).prototypes,), (explore(scene).prototypes,))

    @drawn
    @given(scenes())
    def test_absent_classes_have_nothing_and_seeds_lie_where_their_class_may_be(self, scene: Scene) -> None:
        found = explore(scene)
        absent = ~scene.valid.flatten(2).any(dim=2)
        for each in found:
            assert not each[absent].any()
        assert not found.cam[scene.valid == 0].any()
        assert not found.seeds[scene.valid == 0].any()
        assert found.seeds.unique().tolist() in ([0], [1], [0, 1])
        assert found.seeds.sum(dim=1).max() <= 1

    @drawn
    @given(scenes())
    def test_another_class_that_is_nowhere_changes_nothing(self, scene: Scene) -> None:
        images, _, height, width = scene.logits.shape
        more = torch.zeros(images, 1, height, width, dtype=torch.float64)
        found = explore(
            scene._replace(logits=torch.cat([scene.logits, more - 1], 1), valid=torch.cat([scene.valid, more], 1))
        )
        close(tuple(each[:, :-1] for each in found), explore(scene))
        assert not any(each[:, -1].any() for each in found)

    @drawn
    @given(scenes())
    def test_an_image_given_twice_is_found_twice_bit_for_bit(self, scene: Scene) -> None:
        for each in explore(scene.changed(lambda each: torch.cat([each, each]))):
            assert torch.equal(*each.chunk(2))

    @drawn
    @given(scenes())
    def test_of_a_class_given_twice_the_first_wins_the_seeds(self, scene: Scene) -> None:
        scene = scene._replace(valid=scene.valid[:, :1].expand_as(scene.valid))  # else an absent class might win some
        expected = explore(scene)
        found = explore(
            Scene(
                scene.logits.repeat_interleave(2, dim=1),
                scene.deepest,
                scene.hierarchical,
                torch.cat([scene.valid[:, :1], scene.valid[:, 1:].repeat_interleave(2, dim=1)], dim=1),
            )
        )
        close((found.cam[:, 1::2], found.cam[:, 2::2]), (expected.cam[:, 1:],) * 2)
        close((found.similarity[:, 1::2], found.similarity[:, 2::2]), (expected.similarity[:, 1:],) * 2)
        assert torch.equal(found.seeds[:, 1::2], expected.seeds[:, 1:])
        assert not found.seeds[:, 2::2].any()
        assert not found.is_cam[:, 2::2].any()

    @drawn
    @given(scenes())
    def test_an_image_beside_itself_changes_nothing(self, scene: Scene) -> None:
        expected = explore(scene)
        doubled = Found(*(each if each is expected.prototypes else torch.cat([each, each], -1) for each in expected))
        close(explore(scene.changed(lambda each: torch.cat([each, each], dim=-1))), doubled)

    @pytest.mark.parametrize('dead', [['logits'], ['deepest'], ['hierarchical'], ['logits', 'deepest', 'hierarchical']])
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @few
    @given(scene=scenes())
    def test_zero_features_give_zero_maps_and_finite_gradients(
        self, dead: list[str], dtype: torch.dtype, scene: Scene
    ) -> None:
        scene = scene.to(dtype)._replace(**{name: torch.zeros_like(getattr(scene, name)).to(dtype) for name in dead})
        learning = [scene.logits.requires_grad_(), scene.hierarchical.requires_grad_()]
        found = explore(scene)
        gradients = torch.autograd.grad(gsc_loss(found.cam, found.is_cam), learning)
        assert all(torch.isfinite(each).all() for each in (*found, *gradients))
        if 'logits' in dead:
            assert torch.equal(found.cam[:, :1], scene.valid[:, :1])
            assert not found.cam[:, 1:].any()
        if 'deepest' in dead:
            assert not found.similarity.any()
        if 'hierarchical' in dead:
            assert not found.prototypes.any()
            assert not found.is_cam.any()

    @pytest.mark.parametrize('size', [1e15, 1e18, 1e25, 3e38])
    @few
    @given(scene=scenes())
    def test_huge_features_in_float32_stay_finite_and_up_to_1e15_do_not_matter(self, size: float, scene: Scene) -> None:
        def enlarged(features: Tensor) -> Tensor:
            return (features / features.abs().max().clamp(min=1e-9)).float() * size

        larger = scene.to(torch.float32)._replace(
            deepest=enlarged(scene.deepest), hierarchical=enlarged(scene.hierarchical)
        )
        found = explore(larger)
        for each in (found.cam, found.similarity, found.seeds, found.is_cam):
            assert torch.isfinite(each).all()
        if size <= 1e15:
            expected = explore(scene._replace(deepest=scene.deepest * 1e5, hierarchical=scene.hierarchical * 1e5))
            close(
                (found.cam.double(), found.similarity.double()), (expected.cam, expected.similarity), atol=1e-4
            )  # seeds of two nearly equal classes may differ

    @pytest.mark.parametrize('present', [0.0, 1.0])
    def test_one_pixel_and_one_class_by_hand(self, present: float) -> None:
        scene = Scene(
            logits=torch.tensor([3.0]).view(1, 1, 1, 1).double(),
            deepest=torch.tensor([0.0, 5.0]).view(1, 2, 1, 1).double(),
            hierarchical=torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).double(),
            valid=torch.tensor([1.0, present]).view(1, 2, 1, 1).double(),
        )
        found = explore(scene)
        # M_f = 3 / 3.00001, M_b what is left; S = 1: the IoU is the map itself.
        cam = [1 - 3 / 3.00001, present * 3 / 3.00001]
        close((found.cam.flatten(), found.similarity.flatten()), (torch.tensor(cam).double(),) * 2, atol=1e-5)
        seeds = [1 - present, present]
        assert found.seeds.flatten().tolist() == seeds
        close((found.prototypes[0],), (torch.tensor([[3.0, 4.0]]).double() * torch.tensor(seeds).double()[:, None],))
        close((found.is_cam.flatten(),), (torch.tensor(seeds).double(),))

    def test_a_thousand_classes_are_those_of_the_reference(self, reference: ModuleType) -> None:
        scene = make_scene(images=1, classes=999, height=1, width=4, channels=6, seed=4)
        found = explore(scene)
        single = scene.changed(lambda each: each[0])
        cam, seeds, prototypes, is_cam = reference.training_maps(*single)
        close((found.cam[0], found.seeds[0], found.prototypes[0], found.is_cam[0]), (cam, seeds, prototypes, is_cam))
        assert scene.valid.any(dim=-1).any(dim=-1).sum() > 600
        assert found.seeds[:, 1:].any()

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize(
        ('dtype', 'tolerance'),
        [(torch.float64, 1e-10), (torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)],
    )
    @few
    @given(scene=scenes())
    def test_every_precision_and_device_agrees_with_float64_on_the_cpu(
        self, device: str, dtype: torch.dtype, tolerance: float, scene: Scene
    ) -> None:
        scene = scene.to(dtype).to(torch.float64)  # so that the inputs are the same
        cam = (class_activation_maps(scene.logits) * scene.valid).to(dtype).to(torch.float64)
        seeds = structure_aware_seeds(scene.deepest, cam, scene.valid)
        prototypes = image_specific_prototypes(scene.hierarchical, seeds)
        expected = (
            class_activation_maps(scene.logits) * scene.valid,
            soft_iou(scene.deepest, cam),
            prototypes,
            image_specific_cams(scene.hierarchical, prototypes),
        )
        low = scene.to(dtype).to(device)
        prototypes = image_specific_prototypes(low.hierarchical, seeds.to(dtype).to(device))
        found = (
            class_activation_maps(low.logits) * low.valid,
            soft_iou(low.deepest, cam.to(dtype).to(device)),
            prototypes,
            image_specific_cams(low.hierarchical, prototypes),
        )
        assert found[0].dtype == dtype
        kept = torch.promote_types(dtype, torch.float32)
        assert [each.dtype for each in found[1:]] == [kept] * 3
        close(tuple(each.cpu().double() for each in found), expected, atol=tolerance)

    @pytest.mark.parametrize('scale', [1.0, 300.0, 6e4])
    def test_half_precision_of_any_scale_and_with_absent_classes(self, scale: float) -> None:
        """Squares leave float16 from 256 on, and 1e-8, the guard of a cosine, is 0 in it."""
        scene = make_scene(images=2, classes=3, height=4, width=4, channels=6, seed=1)
        large = [each / each.abs().max() for each in scene[1:3]]
        low = Scene(scene.logits, large[0] * scale, large[1] * scale, scene.valid).to(torch.float16)
        found, expected = explore(low), explore(low.to(torch.float64))
        assert (~scene.valid.flatten(2).any(dim=2)).any()
        close((found.similarity.double(), found.is_cam.double()), (expected.similarity, expected.is_cam), atol=5e-3)

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('layout', ['channels_last', 'transposed', 'strided', 'expanded'])
    @few
    @given(scene=scenes())
    def test_layout_in_memory_does_not_matter(self, device: str, layout: str, scene: Scene) -> None:
        def laid_out(each: Tensor) -> Tensor:
            if layout == 'channels_last':
                return each.contiguous(memory_format=torch.channels_last)
            if layout == 'transposed':
                return each.transpose(1, 3).contiguous().transpose(1, 3)
            if layout == 'strided':
                return F.pad(each, (1, 2)).repeat_interleave(2, dim=-1)[..., 2:-4:2]
            return each[:1].expand(3, -1, -1, -1)

        scene = scene.to(device)
        odd = scene.changed(laid_out)
        close(explore(odd), explore(odd.changed(lambda each: each.clone(memory_format=torch.contiguous_format))))
        if layout != 'expanded':
            close(explore(odd), explore(scene))

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    @few
    @given(scene=scenes())
    def test_twice_is_the_same_bit_for_bit_gradients_too(self, device: str, dtype: torch.dtype, scene: Scene) -> None:
        def once() -> tuple[Tensor, ...]:
            inputs = scene.to(dtype).to(device)
            inputs.logits.requires_grad_()
            inputs.hierarchical.requires_grad_()
            found = explore(inputs)
            loss = gsc_loss(found.cam, found.is_cam)
            return (*found, loss, *torch.autograd.grad(loss, [inputs.logits, inputs.hierarchical]))

        for one, other in zip(once(), once(), strict=True):
            assert torch.equal(one, other)

    @drawn
    @given(scenes())
    def test_inputs_are_left_alone(self, scene: Scene) -> None:
        before = scene.changed(torch.clone)
        explore(scene)
        structure_aware_seeds(scene.deepest, scene.valid, scene.valid, alpha_on='map')
        for now, then in zip(scene, before, strict=True):
            assert torch.equal(now, then)


class TestMapsOnTheirOwn:
    @drawn
    @given(scenes(), st.sampled_from([1e-30, 1e-3, 1e3, 1e30]))
    def test_maps_divided_by_their_maximum_are_in_0_1_and_forget_their_scale(self, scene: Scene, factor: float) -> None:
        maps = scene.logits.relu()
        found = normalize_by_max(maps)
        assert found.min() >= 0
        assert found.max() < 1
        maxima = maps.flatten(2).max(dim=2).values
        close((found.flatten(2).max(dim=2).values,), (maxima / (maxima + 1e-5),))
        maps = maps + 0.1
        close((normalize_by_max(maps * factor, eps=0.0),), (normalize_by_max(maps, eps=0.0),))

    @drawn
    @given(scenes())
    def test_cams_are_in_0_1_and_background_is_what_the_strongest_class_leaves(self, scene: Scene) -> None:
        cam = class_activation_maps(scene.logits)
        assert cam.min() >= 0
        assert cam.max() <= 1
        close((cam[:, 0] + cam[:, 1:].max(dim=1).values,), (torch.ones_like(cam[:, 0]),))

    @drawn
    @given(scenes(), st.floats(1e-3, 1e3))
    def test_norm_grows_with_its_features_and_does_not_see_their_order(self, scene: Scene, factor: float) -> None:
        norm = norm_over_channels(scene.hierarchical)
        close((norm_over_channels(scene.hierarchical * factor),), (norm * factor,), atol=1e-9)
        close((norm_over_channels(-scene.hierarchical.flip(1)),), (norm,))

    @drawn
    @given(scenes())
    def test_soft_iou_is_in_0_1_and_1_where_all_is_alike_and_full(self, scene: Scene) -> None:
        maps = scene.valid * torch.rand(scene.valid.shape, generator=torch.Generator().manual_seed(0)).double()
        found = soft_iou(scene.deepest, maps)
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-12
        even = torch.ones_like(scene.deepest) * 1e6
        close((soft_iou(even, torch.ones_like(maps)),), (torch.ones_like(maps),), atol=1e-9)

    @drawn
    @given(scenes(min_images=2))
    def test_soft_iou_of_an_image_does_not_see_the_others_bit_for_bit(self, scene: Scene) -> None:
        together = soft_iou(scene.deepest, scene.valid)
        for index in range(len(together)):
            alone = soft_iou(scene.deepest[index : index + 1], scene.valid[index : index + 1])
            assert torch.equal(together[index], alone[0])

    @drawn
    @given(scenes(), st.integers(1, 40))
    def test_size_of_the_tiles_does_not_matter(self, scene: Scene, tile: int) -> None:
        close((soft_iou(scene.deepest, scene.valid, tile=tile),), (soft_iou(scene.deepest, scene.valid, tile=1000),))

    @drawn
    @given(scenes())
    def test_without_background_weight_no_pixel_is_background_where_a_class_fits(self, scene: Scene) -> None:
        maps, everywhere = class_activation_maps(scene.logits), torch.ones(1, 1, 1, 1).double()
        for alpha_on in ('similarity', 'map'):
            seeds = structure_aware_seeds(scene.deepest, maps, everywhere, 0.0, alpha_on)
            fits = soft_iou(scene.deepest, maps)[:, 1:].amax(dim=1) > 0
            assert not seeds[:, 0][fits].any()

    @drawn
    @given(scenes())
    def test_more_weight_never_takes_a_pixel_from_the_background(self, scene: Scene) -> None:
        maps, everywhere = class_activation_maps(scene.logits), torch.ones(1, 1, 1, 1).double()
        weak, strong = (structure_aware_seeds(scene.deepest, maps, everywhere, alpha) for alpha in (0.5, 0.9))
        assert (strong[:, 0] >= weak[:, 0]).all()

    @drawn
    @given(scenes())
    def test_prototypes_of_all_seeds_together_are_the_mean_feature(self, scene: Scene) -> None:
        seeds = structure_aware_seeds(scene.deepest, scene.valid, torch.ones_like(scene.valid))
        found = image_specific_prototypes(scene.hierarchical, seeds).sum(dim=1)
        close((found,), (scene.hierarchical.mean(dim=(2, 3)),))

    @drawn
    @given(scenes(), st.sampled_from([1e-3, 1e-150, 1e9, 1e150]))
    def test_is_cam_is_in_0_1_and_forgets_the_scale_of_prototypes(self, scene: Scene, factor: float) -> None:
        prototypes = scene.logits.flatten(2)[:, :, :1] * scene.hierarchical[:, :, 0, 0][:, None]
        found = image_specific_cams(scene.hierarchical, prototypes, eps=1e-300)
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-12
        if prototypes.abs().sum(dim=2).min() > 1e-3:
            close((image_specific_cams(scene.hierarchical, prototypes * factor, eps=1e-300),), (found,))


class TestValidityMaps:
    @drawn
    @given(scenes(min_images=2), st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64]))
    def test_images_and_classes_can_be_permuted_in_any_dtype(self, scene: Scene, dtype: torch.dtype) -> None:
        labels = scene.valid[:, 1:].flatten(2).amax(dim=2).to(dtype)
        boxes = torch.tensor([[3, 40, 0, 64], [0, 48, 17, 20], [16, 33, 5, 64]])[: len(labels)]
        found = validity_maps(labels, boxes, (48, 64), (3, 4))
        assert found.dtype == dtype
        images, classes = order(len(labels)), order(labels.shape[1])
        keys = torch.cat([torch.zeros(1, dtype=torch.long), 1 + classes])
        turned = validity_maps(labels[images][:, classes], boxes[images], (48, 64), (3, 4))
        assert torch.equal(turned, found[images][:, keys])
        assert not found[:, 1:][labels == 0].any()

    @drawn
    @given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9))
    def test_a_box_that_is_the_crop_is_valid_everywhere_and_an_empty_one_nowhere(
        self, height: int, width: int, rows: int, columns: int
    ) -> None:
        labels = torch.ones(2, 3)
        found = validity_maps(
            labels, torch.tensor([[0, height, 0, width], [0, 0, 0, 0]]), (height, width), (rows, columns)
        )
        assert found.shape == (2, 4, rows, columns)
        assert found[0].all()
        assert not found[1].any()

    @pytest.mark.parametrize('device', DEVICES)
    def test_a_thousand_classes(self, device: str) -> None:
        labels = torch.zeros(1, 1000, device=device)
        labels[0, [7, 999]] = 1
        found = validity_maps(labels, torch.tensor([[0, 32, 16, 48]], device=device), (32, 48), (2, 3))
        assert found.flatten(2).any(dim=2).nonzero()[:, 1].tolist() == [0, 8, 1000]
        assert found[0, 8].tolist() == [[0, 1, 1], [0, 1, 1]]


grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


def pyramid(seed: int, *sizes: tuple[int, int], images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(images, 2 + index, *size, generator=generator, dtype=torch.float64)
        for index, size in enumerate(sizes)
    ]


class TestHierarchicalFeature:
    @drawn
    @given(st.integers(0, 999), grids, grids, grids)
    def test_images_can_be_permuted_and_mirrored(
        self, seed: int, one: tuple[int, int], other: tuple[int, int], size: tuple[int, int]
    ) -> None:
        maps = pyramid(seed, one, other)
        found = hierarchical_feature(maps, [nn.Identity()] * 2, size)
        turned = hierarchical_feature([each.flip(0, 2, 3) for each in maps], [nn.Identity()] * 2, size)
        close((turned,), (found.flip(0, 2, 3),))

    @drawn
    @given(st.integers(0, 999), grids, grids, st.sampled_from([1e3, 1e15]))
    def test_scale_of_a_projection_does_not_matter(
        self, seed: int, one: tuple[int, int], size: tuple[int, int], factor: float
    ) -> None:
        maps = [each * 1e3 for each in pyramid(seed, one, size)]
        found = hierarchical_feature([maps[0] * factor, maps[1]], [nn.Identity()] * 2, size)
        close((found,), (hierarchical_feature(maps, [nn.Identity()] * 2, size),), atol=1e-6)

    @drawn
    @given(grids, grids)
    def test_an_even_map_stays_even(self, old: tuple[int, int], size: tuple[int, int]) -> None:
        maps = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1).expand(1, 2, *old).double()
        found = hierarchical_feature([maps], [nn.Identity()], size, eps=0.0)
        close((found,), (torch.tensor([0.6, -0.8]).double().view(1, 2, 1, 1).expand(1, 2, *size),))
        close((resize_bilinear(maps, size),), (maps[..., :1, :1].expand(1, 2, *size),))

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize(
        ('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)]
    )
    @pytest.mark.parametrize('scale', [1.0, 3e4])
    @few
    @given(seed=st.integers(0, 999), old=grids, size=grids)
    @example(seed=0, old=(9, 9), size=(2, 2))
    def test_every_precision_gives_float32_near_float64(
        self,
        device: str,
        dtype: torch.dtype,
        tolerance: float,
        scale: float,
        seed: int,
        old: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        maps = [(each / each.abs().max() * scale).to(dtype) for each in pyramid(seed, old)]
        found = hierarchical_feature([each.to(device) for each in maps], [nn.Identity()], size)
        assert found.dtype == torch.float32
        expected = hierarchical_feature([each.double() for each in maps], [nn.Identity()], size)
        close((found.cpu().double(),), (expected,), atol=tolerance)

    @drawn
    @given(st.integers(0, 999), grids, grids)
    def test_layout_does_not_matter_and_twice_is_the_same(
        self, seed: int, old: tuple[int, int], size: tuple[int, int]
    ) -> None:
        (maps,) = pyramid(seed, old)
        found = hierarchical_feature([maps], [nn.Identity()], size)
        assert torch.equal(hierarchical_feature([maps], [nn.Identity()], size), found)
        turned = maps.contiguous(memory_format=torch.channels_last)
        close((hierarchical_feature([turned], [nn.Identity()], size),), (found,))


class TestFuseScales:
    @drawn
    @given(st.integers(0, 999), st.lists(grids, min_size=1, max_size=3), grids)
    def test_scales_and_classes_have_no_order_and_can_be_mirrored(
        self, seed: int, sizes: list[tuple[int, int]], size: tuple[int, int]
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        maps = [torch.rand(3, *each, generator=generator, dtype=torch.float64) for each in sizes]
        found = fuse_scales(maps, size)
        assert found.min() >= 0
        assert found.max() < 1
        close((fuse_scales(maps[::-1], size),), (found,))
        close((fuse_scales([each.flip(0, 1, 2) for each in maps], size),), (found.flip(0, 1, 2),))

    @drawn
    @given(st.integers(0, 999), grids, grids, st.integers(2, 4))
    def test_the_same_scale_several_times_is_as_good_as_once(
        self, seed: int, old: tuple[int, int], size: tuple[int, int], times: int
    ) -> None:
        maps = torch.rand(3, *old, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01
        close((fuse_scales([maps] * times, size, eps=0.0),), (fuse_scales([maps], size, eps=0.0),))
