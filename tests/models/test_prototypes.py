"""Every function of ``prototypes.py`` against ``sipe_reference.py``, and what must be true of them."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sipe_mmseg.models.gsc_loss import gsc_loss
from sipe_mmseg.models.multi_scale_fusion import fuse_scales
from sipe_mmseg.models.prototypes import (
    EPS,
    class_activation_maps,
    hierarchical_feature,
    image_specific_cams,
    image_specific_prototypes,
    norm_over_channels,
    normalize_by_max,
    resize_bilinear,
    shrinking_taps,
    soft_iou,
    structure_aware_seeds,
    validity_maps,
)

N, K, D, H, W = 2, 3, 5, 3, 4
LABELS = [[1, 0, 1], [0, 1, 0]]
BOXES = [[0, 48, 0, 64], [5, 37, 16, 50]]
CROP = (48, 64)


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    """Everything here is drawn and compared in float64."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def images(function: Callable[..., Tensor], *batches: Any, **options: Any) -> Tensor:
    """Run a function for single images over batches."""
    return torch.stack([function(*single, **options) for single in zip(*batches, strict=True)])


def valid() -> Tensor:
    return validity_maps(torch.tensor(LABELS, dtype=torch.float64), torch.tensor(BOXES), CROP, (H, W))


def gradients(value: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((value * weights_like(value)).sum(), inputs))


def weights_like(value: Tensor) -> Tensor:
    """Fixed uneven weights, so that every entry's gradient tells on the sum."""
    return torch.linspace(0.3, 1.7, value.numel(), dtype=value.dtype).view(value.shape)


class TestNormalizeByMax:
    def test_values(self) -> None:
        found = normalize_by_max(torch.tensor([[[1.0, 4.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]]), eps=1.0)
        torch.testing.assert_close(found, torch.tensor([[[0.2, 0.8], [0.0, 0.4]], [[0.0, 0.0], [0.0, 0.0]]]))

    def test_published_eps(self) -> None:
        assert EPS == 1e-5
        assert float(normalize_by_max(torch.tensor([[1e-5]]))) == pytest.approx(0.5)

    def test_each_image_and_class_by_its_own_maximum(self, reference: ModuleType) -> None:
        maps = draw(N, K, H, W).abs()
        expected = images(lambda image: torch.stack([reference.divided_by_max(m) for m in image]), maps)
        torch.testing.assert_close(normalize_by_max(maps), expected)

    def test_gradient_passes_through_the_maximum(self) -> None:
        maps = torch.tensor([[2.0, 4.0]], requires_grad=True)
        normalize_by_max(maps, eps=0.0).sum().backward()
        torch.testing.assert_close(maps.grad, torch.tensor([[1 / 4, -2 / 16]]))

    def test_gradcheck(self) -> None:
        assert torch.autograd.gradcheck(normalize_by_max, draw(N, K, H, W).abs().requires_grad_())


class TestClassActivationMaps:
    def test_one_cell_by_hand(self) -> None:
        logits = torch.tensor([[[[4.0, 2.0, -1.0]], [[-3.0, 1.0, 2.0]]]])
        found = class_activation_maps(logits, eps=0.0)
        torch.testing.assert_close(found, torch.tensor([[[[0.0, 0.5, 0.0]], [[1.0, 0.5, 0.0]], [[0.0, 0.5, 1.0]]]]))

    def test_is_the_reference_and_so_is_its_gradient(self, reference: ModuleType) -> None:
        logits = draw(N, K, H, W)
        logits[0, 1] = -logits[0, 1].abs()  # a class that is nowhere
        logits.requires_grad_()
        found, expected = class_activation_maps(logits), images(reference.general_cam, logits)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found, logits), gradients(expected, logits))

    def test_background_learns(self) -> None:
        logits = draw(1, K, H, W).requires_grad_()
        class_activation_maps(logits)[:, 0].sum().backward()
        assert logits.grad.abs().sum() > 0

    def test_permuting_classes_permutes_maps(self) -> None:
        logits, order = draw(N, K, H, W), torch.tensor([2, 0, 1])
        cam = class_activation_maps(logits)
        permuted = class_activation_maps(logits[:, order])
        assert torch.equal(permuted[:, 0], cam[:, 0])
        assert torch.equal(permuted[:, 1:], cam[:, 1:][:, order])

    def test_nothing_active_is_all_background(self) -> None:
        cam = class_activation_maps(-draw(1, K, H, W).abs())
        assert torch.equal(cam[:, 0], torch.ones(1, H, W))
        assert torch.equal(cam[:, 1:], torch.zeros(1, K, H, W))

    def test_gradcheck(self) -> None:
        assert torch.autograd.gradcheck(class_activation_maps, draw(N, K, H, W).requires_grad_())


class TestValidityMaps:
    @pytest.mark.parametrize(
        ('crop', 'grid', 'boxes'),
        [
            ((48, 64), (3, 4), [[0, 48, 0, 64], [5, 37, 16, 50]]),
            ((512, 320), (32, 20), [[17, 400, 1, 320], [0, 512, 304, 305]]),
            ((50, 70), (4, 5), [[13, 38, 0, 57], [12, 25, 14, 15]]),  # sides that are no multiple of the stride
            ((32, 32), (8, 8), [[0, 0, 0, 0], [4, 29, 3, 32]]),  # stride 4, and an empty box
        ],
    )
    def test_is_the_reference(self, reference: ModuleType, crop: tuple, grid: tuple, boxes: list) -> None:
        found = validity_maps(torch.tensor(LABELS), torch.tensor(boxes), crop, grid)
        expected = images(lambda label, box: reference.validity(label, box, crop, grid), LABELS, boxes)
        assert torch.equal(found, expected.to(found.dtype))

    def test_is_what_interpolate_makes_of_the_mask_at_crop_resolution(self) -> None:
        labels, crop, grid = torch.tensor(LABELS, dtype=torch.float32), (96, 80), (6, 5)
        boxes = torch.tensor([[7, 81, 33, 80], [16, 17, 0, 64]])
        mask = torch.zeros(N, K + 1, *crop)
        for image, label, (top, bottom, left, right) in zip(mask, labels, boxes, strict=True):
            image[:, top:bottom, left:right] = torch.cat([torch.ones(1), label.double()])[:, None, None]
        expected = F.interpolate(mask, size=grid, mode='nearest')
        torch.testing.assert_close(validity_maps(labels, boxes, crop, grid), expected.float(), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ('box', 'rows'),
        [
            ([0, 48, 0, 16], [1, 1, 1]),
            ([1, 48, 0, 16], [0, 1, 1]),  # pixel 0 is outside, however much of the first cell is inside
            ([16, 48, 0, 16], [0, 1, 1]),
            ([17, 48, 0, 16], [0, 0, 1]),
            ([0, 17, 0, 16], [1, 1, 0]),  # pixel 16 is inside, however little of the second cell is
            ([0, 16, 0, 16], [1, 0, 0]),
        ],
    )
    def test_cell_looks_at_its_upper_left_pixel(self, box: list, rows: list) -> None:
        for transposed in (False, True):
            turned = box[2:] + box[:2] if transposed else box
            crop, grid = ((16, 48), (1, 3)) if transposed else ((48, 16), (3, 1))
            found = validity_maps(torch.ones(1, 1), torch.tensor([turned]), crop, grid)
            assert found[0, 0].flatten().tolist() == rows
            assert torch.equal(found[0, 1], found[0, 0])

    def test_device_is_that_of_the_labels(self) -> None:
        labels, boxes = torch.tensor(LABELS, device='meta'), torch.tensor(BOXES, device='meta')
        assert validity_maps(labels, boxes, CROP, (H, W)).device.type == 'meta'

    def test_another_number_of_sides(self) -> None:
        with pytest.raises(ValueError, match='zip'):
            validity_maps(torch.ones(1, 1), torch.tensor([[0, 16, 0, 16]]), CROP, (3, 4, 5))

    def test_dtype_is_that_of_the_labels(self) -> None:
        labels = torch.tensor(LABELS, dtype=torch.float32)
        assert validity_maps(labels, torch.tensor(BOXES), CROP, (H, W)).dtype == torch.float32


class TestNormOverChannels:
    @pytest.mark.parametrize('dim', [0, 1])
    def test_is_the_norm(self, dim: int) -> None:
        features = draw(N, D, H, W).requires_grad_()
        expected = features.norm(dim=dim, keepdim=True)
        torch.testing.assert_close(norm_over_channels(features, dim), expected)
        found, wanted = (
            torch.autograd.grad(each.sum(), features)[0] for each in (norm_over_channels(features, dim), expected)
        )
        torch.testing.assert_close(found, wanted)

    def test_gradient_is_0_where_the_norm_is(self) -> None:
        features = torch.zeros(1, 3, 1, 2, dtype=torch.float32)
        features[0, :, 0, 1] = 1e-20  # its square is not a normal number
        features.requires_grad_()
        norm = norm_over_channels(features)
        assert norm[0, 0, 0, 0] < 1e-18
        norm.sum().backward()
        assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.filterwarnings('error')  # PyTorch only warns of an output with another shape
class TestSoftIoU:
    def test_is_the_reference(self, reference: ModuleType) -> None:
        features, maps = draw(N, D, H, W), torch.rand(N, K + 1, H, W)
        torch.testing.assert_close(soft_iou(features, maps), images(reference.soft_iou, features, maps))

    def test_another_number_of_images(self) -> None:
        with pytest.raises(ValueError, match='zip'):
            soft_iou(draw(N, D, H, W), torch.rand(N + 1, K + 1, H, W))

    def test_dead_features_and_empty_maps(self, reference: ModuleType) -> None:
        features, maps = draw(N, D, H, W), torch.rand(N, K + 1, H, W)
        features[0, :, 1, 2] = 0
        features[1] = 0
        maps[:, 1] = 0
        found = soft_iou(features, maps)
        assert torch.isfinite(found).all()
        assert (found[:, 1] == 0).all()
        assert (found[0, :, 1, 2] == 0).all()
        torch.testing.assert_close(found, images(reference.soft_iou, features, maps))

    def test_two_regions_by_hand(self) -> None:
        # Two orthogonal features of two pixels each: the structure map of a pixel is its own region.
        features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
        maps = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.5, 0.0, 1.0, 0.0]]]])
        found = soft_iou(features, maps, eps=0.0)
        first = [1.0, 1.0, 0.0, 0.0]
        second = [0.5 / (2 + 1.5 - 0.5)] * 2 + [1 / (2 + 1.5 - 1)] * 2
        torch.testing.assert_close(found, torch.tensor([[[first], [second]]]))

    def test_layout_and_autocast_do_not_matter(self) -> None:
        features, maps = torch.randn(2, 5, 6, 7), torch.rand(2, 7, 6, 4).transpose(1, 3)
        expected = soft_iou(features, maps.contiguous())
        torch.testing.assert_close(soft_iou(features, maps), expected)
        with torch.autocast('cpu', torch.bfloat16):
            torch.testing.assert_close(soft_iou(features, maps), expected, rtol=0.05, atol=0.02)


class TestStructureAwareSeeds:
    @pytest.mark.parametrize('alpha_on', ['similarity', 'map'])
    @pytest.mark.parametrize('alpha', [0.5, 0.8])
    def test_is_the_reference(self, reference: ModuleType, alpha_on: str, alpha: float) -> None:
        features, v = draw(N, D, 5, 6), F.interpolate(valid(), size=(5, 6), mode='nearest')
        maps = class_activation_maps(draw(N, K, 5, 6)) * v
        found = structure_aware_seeds(features, maps, v, alpha, alpha_on)
        expected = images(reference.seeds, features, maps, v, alpha=alpha, alpha_on=alpha_on)
        assert torch.equal(found, expected)
        assert 0 < found[:, 0].sum() < found[:, 1:].sum() + found[:, 0].sum()

    def test_default_is_the_published_code(self) -> None:
        features, maps = draw(4, D, 6, 6), class_activation_maps(draw(4, K, 6, 6))
        v = torch.ones_like(maps)
        found = structure_aware_seeds(features, maps, v)
        assert torch.equal(found, structure_aware_seeds(features, maps, v, 0.5, 'similarity'))
        assert not torch.equal(found, structure_aware_seeds(features, maps, v, 0.5, 'map'))
        assert not torch.equal(found, structure_aware_seeds(features, maps, v, 0.8, 'similarity'))

    def test_the_two_background_weights_by_hand(self) -> None:
        # All pixels alike, so S is 1 everywhere: IoU = sum(M) / 4. Background 4/4, foreground 2.4/4; halved either way
        # the background loses, at 0.7 it wins.
        features = torch.ones(1, 1, 1, 4)
        maps = torch.cat([torch.ones(1, 1, 1, 4), torch.full((1, 1, 1, 4), 0.6)], dim=1)
        for alpha_on in ('similarity', 'map'):
            for alpha, winner in ((0.5, 1), (0.7, 0)):
                seeds = structure_aware_seeds(features, maps, torch.ones_like(maps), alpha, alpha_on, eps=0.0)
                assert seeds.argmax(dim=1).unique().tolist() == [winner]

    def test_weights_differ_where_the_union_does(self) -> None:
        # S is 1 on the first two pixels. Background map 1 there: IoU 1, weighed 0.5 on the similarity; on the map
        # 2 * 0.5 / (2 + 1 - 1) = 0.5 as well. Outside of S it counts: background map 1 everywhere gives 2/4 * 0.5 =
        # 0.25 on the similarity and 1 / (2 + 2 - 1) = 1/3 on the map, and the foreground's 0.3 / (2 + 0.6 - 0.6).
        features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
        maps = torch.tensor([[[[1.0, 1.0, 1.0, 1.0]], [[0.3, 0.3, 0.0, 0.0]]]])
        winners = {
            alpha_on: structure_aware_seeds(features, maps, torch.ones_like(maps), 0.5, alpha_on, 0.0)[0, :, 0, 0]
            for alpha_on in ('similarity', 'map')
        }
        assert winners['similarity'].tolist() == [0, 1]
        assert winners['map'].tolist() == [1, 0]

    def test_every_pixel_has_one_seed_where_all_is_valid_and_none_where_nothing_is(self) -> None:
        features, maps = draw(N, D, H, W), torch.rand(N, K + 1, H, W)
        seeds = structure_aware_seeds(features, maps, torch.ones_like(maps))
        assert torch.equal(seeds.sum(dim=1), torch.ones(N, H, W))
        assert not structure_aware_seeds(features, maps, torch.zeros_like(maps)).any()

    def test_pixel_won_by_an_absent_class_is_nobodys(self) -> None:
        features, maps = draw(N, D, H, W), torch.rand(N, K + 1, H, W)
        free = structure_aware_seeds(features, maps, torch.ones_like(maps))
        present = torch.tensor([1.0, 1.0, 0.0, 1.0])[None, :, None, None]
        seeds = structure_aware_seeds(features, maps, present)
        assert free[:, 2].any()
        assert torch.equal(seeds, free * present)

    def test_no_gradient(self) -> None:
        features, maps = draw(N, D, H, W).requires_grad_(), torch.rand(N, K + 1, H, W).requires_grad_()
        assert not structure_aware_seeds(features, maps, torch.ones(1, K + 1, 1, 1)).requires_grad

    def test_maps_are_left_alone(self) -> None:
        features, maps = draw(N, D, H, W), torch.rand(N, K + 1, H, W)
        before = features.clone(), maps.clone()
        structure_aware_seeds(features, maps, torch.ones_like(maps), 0.5, 'map')
        assert torch.equal(features, before[0])
        assert torch.equal(maps, before[1])

    def test_unknown_alpha_on(self) -> None:
        with pytest.raises(ValueError, match=r"alpha_on='iou': use 'similarity' \(published code\) or 'map' \(paper\)"):
            structure_aware_seeds(draw(1, D, H, W), torch.rand(1, 2, H, W), torch.ones(1, 2, H, W), alpha_on='iou')


class TestResizeBilinear:
    @pytest.mark.parametrize(('old', 'new'), [((3, 4), (5, 9)), ((6, 8), (3, 4)), ((5, 7), (3, 3)), ((1, 1), (4, 2))])
    def test_is_the_reference(self, reference: ModuleType, old: tuple, new: tuple) -> None:
        maps = draw(N, K, *old)
        torch.testing.assert_close(
            resize_bilinear(maps, new), images(lambda image: reference.bilinear(image, new), maps)
        )

    def test_same_size_is_left_alone(self) -> None:
        maps = draw(N, K, H, W)
        assert resize_bilinear(maps, (H, W)) is maps
        assert resize_bilinear(maps, torch.Size((H, W))) is maps


class TestHierarchicalFeature:
    def test_is_the_reference_and_so_is_its_gradient(self, reference: ModuleType) -> None:
        projections = [
            draw(N, channels, *size).requires_grad_()
            for channels, size in zip((2, 3, 4, 5), ((12, 16), (6, 8), (3, 4), (2, 2)), strict=True)
        ]
        found = hierarchical_feature(projections, [nn.Identity()] * 4, (3, 4))
        expected = images(lambda *image: reference.hierarchical_feature(image, (3, 4)), *projections)
        assert found.shape == (N, 14, 3, 4)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found, *projections), gradients(expected, *projections))

    @pytest.mark.parametrize('size', [(13, 19), (12, 16), (6, 40), (7, 9), (8, 8), (3, 4), (2, 3)])
    def test_projects_few_cells_and_means_all(self, reference: ModuleType, size: tuple[int, int]) -> None:
        maps = draw(N, D, *size).requires_grad_()
        seen = []

        def project(cells: Tensor) -> Tensor:
            seen.append(cells.shape[-2] * cells.shape[-1])
            return cells * 2 - 1

        found = hierarchical_feature([maps], [project], (3, 4))
        expected = images(lambda single: reference.hierarchical_feature([single * 2 - 1], (3, 4)), maps)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found, maps), gradients(expected, maps))
        assert seen == [min(size[0] * size[1], 4 * 3 * 4)]

    @pytest.mark.parametrize(
        ('size', 'whole'), [((6, 8), True), ((7, 7), False), ((2, 24), True), ((2, 25), False), ((49, 1), False)]
    )
    def test_reads_a_part_only_where_it_has_fewer_cells(self, size: tuple[int, int], whole: bool) -> None:
        """To a grid of 3 x 4, four cells are read for each new one: 48."""
        assert (shrinking_taps(size, (3, 4), torch.device('cpu')) is None) == whole

    def test_taps_are_made_where_the_map_is(self) -> None:
        assert {each.device.type for each in shrinking_taps((9, 9), (2, 2), torch.device('meta'))} == {'meta'}

    def test_another_number_of_projections(self) -> None:
        with pytest.raises(ValueError, match='zip'):
            hierarchical_feature([draw(N, D, H, W)] * 2, [nn.Identity()] * 3, (H, W))

    def test_every_stage_has_unit_length_before_it_is_resized(self) -> None:
        found = hierarchical_feature([draw(N, 4, H, W) * 100, draw(N, 6, H, W) * 0.01], [nn.Identity()] * 2, (H, W))
        for part in found.split([4, 6], dim=1):
            torch.testing.assert_close(part.norm(dim=1), torch.ones(N, H, W), rtol=0, atol=0.01)

    def test_dead_vectors_stay_zero_and_learn_something_finite(self) -> None:
        projection = draw(N, D, H, W)
        projection[:, :, 0, 0] = 0
        projection.requires_grad_()
        found = hierarchical_feature([projection], [nn.Identity()], (H, W))
        found.sum().backward()
        assert not found[:, :, 0, 0].any()
        assert torch.isfinite(projection.grad).all()


class TestPrototypes:
    def test_is_the_reference(self, reference: ModuleType) -> None:
        features, seeds = draw(N, D, H, W), torch.rand(N, K + 1, H, W).round()
        torch.testing.assert_close(
            image_specific_prototypes(features, seeds), images(reference.prototypes, features, seeds)
        )

    def test_divides_by_all_pixels_as_the_published_code_does(self) -> None:
        seeds = torch.zeros(1, 1, 1, 4)
        seeds[..., 1:3] = 1
        found = image_specific_prototypes(torch.tensor([[[[9.0, 1.0, 3.0, 9.0]]]]), seeds)
        assert found.tolist() == [[[1.0]]]

    def test_class_without_seeds_is_zero(self) -> None:
        seeds = torch.ones(N, K + 1, H, W)
        seeds[0, 2] = 0
        found = image_specific_prototypes(draw(N, D, H, W), seeds)
        assert not found[0, 2].any()
        assert found[1, 2].all()


class TestImageSpecificCams:
    def test_is_the_reference_and_so_is_its_gradient(self, reference: ModuleType) -> None:
        features, prototypes = draw(N, D, H, W).requires_grad_(), draw(N, K + 1, D).requires_grad_()
        found, expected = image_specific_cams(features, prototypes), images(reference.is_cam, features, prototypes)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found, features, prototypes), gradients(expected, features, prototypes))

    def test_in_0_1_and_1_for_the_prototype_itself(self) -> None:
        features = draw(N, D, H, W)
        found = image_specific_cams(features, features[:, :, 1, 2][:, None] * 7)
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-12
        torch.testing.assert_close(found[:, 0, 1, 2], torch.ones(N))

    @pytest.mark.parametrize('eps', [1e-8, 1e-3])
    @pytest.mark.parametrize('length', [1e-12, 1e-9, 1e-7, 1e-4])
    def test_guard_is_that_of_a_cosine(self, length: float, eps: float) -> None:
        features, prototypes = draw(N, D, H, W), draw(N, K + 1, D)
        for small, large in ((features * length, prototypes), (features, prototypes * length)):
            cosine = F.cosine_similarity(small[:, None], large[..., None, None], dim=2, eps=eps)
            torch.testing.assert_close(image_specific_cams(small, large, eps=eps), cosine.relu())

    def test_zero_prototype_is_a_zero_map_with_finite_gradients(self) -> None:
        features, prototypes = draw(N, D, H, W), draw(N, K + 1, D)
        prototypes[:, 2] = 0
        features[:, :, 0, 0] = 0
        features.requires_grad_()
        prototypes.requires_grad_()
        found = image_specific_cams(features, prototypes)
        found.sum().backward()
        assert not found[:, 2].any()
        assert not found[:, :, 0, 0].any()
        assert torch.isfinite(features.grad).all()
        assert torch.isfinite(prototypes.grad).all()

    def test_gradcheck(self) -> None:
        inputs = draw(N, D, H, W).requires_grad_(), draw(N, K + 1, D).requires_grad_()
        assert torch.autograd.gradcheck(image_specific_cams, inputs)


def explore(logits: Tensor, deepest: Tensor, hierarchical: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Sections 2 to 4 in a row."""
    cam = class_activation_maps(logits) * v
    seeds = structure_aware_seeds(deepest, cam, v)
    prototypes = image_specific_prototypes(hierarchical, seeds)
    return cam, seeds, prototypes, image_specific_cams(hierarchical, prototypes)


class TestWholePath:
    def test_maps_loss_and_gradients_are_the_references(self, reference: ModuleType) -> None:
        logits, deepest = draw(N, K, H, W).requires_grad_(), draw(N, D, H, W).requires_grad_()
        hierarchical = draw(N, D, H, W).requires_grad_()
        found = explore(logits, deepest, hierarchical, valid())
        slow_valid = [reference.validity(label, box, CROP, (H, W)) for label, box in zip(LABELS, BOXES, strict=True)]
        expected = list(
            zip(
                *(
                    reference.training_maps(*image)
                    for image in zip(logits, deepest, hierarchical, slow_valid, strict=True)
                ),
                strict=True,
            )
        )
        for fast, slow in zip(found, expected, strict=True):
            torch.testing.assert_close(fast, torch.stack(slow))
        loss, slow_loss = gsc_loss(found[0], found[3]), reference.gsc_loss_of_images(expected[0], expected[3])
        torch.testing.assert_close(loss, slow_loss)
        torch.testing.assert_close(
            torch.autograd.grad(loss, [logits, hierarchical], retain_graph=True),
            torch.autograd.grad(slow_loss, [logits, hierarchical]),
        )
        # `deepest` only says where seeds are.
        assert torch.autograd.grad(loss, [deepest], allow_unused=True) == (None,)

    def test_values_in_the_padding_do_not_matter_to_the_cam(self) -> None:
        v = valid()
        padding = (v[:, :1] == 0).expand(-1, K, -1, -1)
        assert padding.any()
        logits = draw(N, K, H, W)
        logits[padding] = 0
        other = torch.where(padding, -draw(N, K, H, W).abs(), logits)  # the maximum stays inside
        assert torch.equal(class_activation_maps(logits) * v, class_activation_maps(other) * v)
        other = torch.where(padding, torch.full_like(logits, 100.0), logits)
        cam = class_activation_maps(other) * v
        assert not cam[(v == 0)].any()
        assert cam[1, 1:].max() < 0.1  # as published: the maximum runs over the padding too

    @pytest.mark.parametrize('present', [0.0, 1.0])
    def test_background_only_and_all_classes(self, present: float) -> None:
        labels = torch.full((N, K), present)
        v = validity_maps(labels, torch.tensor(BOXES), CROP, (H, W))
        logits, hierarchical = draw(N, K, H, W).requires_grad_(), draw(N, D, H, W).requires_grad_()
        cam, _, _, is_cam = explore(logits, draw(N, D, H, W), hierarchical, v)
        gsc_loss(cam, is_cam).backward()
        assert torch.isfinite(logits.grad).all()
        assert torch.isfinite(hierarchical.grad).all()
        assert bool(is_cam[:, 1:].any()) == bool(present)


class TestFuseScales:
    def test_is_the_reference(self, reference: ModuleType) -> None:
        maps = [torch.rand(K, *size) for size in ((3, 4), (2, 2), (5, 6))]
        torch.testing.assert_close(fuse_scales(maps, (9, 11)), reference.fused_scales(maps, (9, 11)))

    def test_sums_do_not_go_into_the_inputs(self) -> None:
        maps = [torch.rand(K, H, W), torch.rand(K, H, W)]
        before = [m.clone() for m in maps]
        fuse_scales(maps, (H, W))
        assert all(torch.equal(now, then) for now, then in zip(maps, before, strict=True))

    def test_empty_map_stays_empty(self) -> None:
        assert not fuse_scales([torch.zeros(1, H, W)], (7, 7)).any()
