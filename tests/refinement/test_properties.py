"""What must be true of the refinement for any input: hypothesis draws sizes and seeds, the same ones every time."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sipe_mmseg.refinement import dense_crf, dense_crf_probabilities, ir_labels, random_walk
from sipe_mmseg.refinement.foreground import held_back_by_background
from sipe_mmseg.refinement.pixel_pairs import at_pairs, half_disc, path

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]
needs_crf = pytest.mark.skipif(find_spec('pydensecrf') is None, reason='the extra crf is not installed')
drawn = settings(derandomize=True, deadline=None, database=None, max_examples=8)
few = settings(drawn, max_examples=3)


def make_walk(images: int, classes: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Activations and boundaries in float64, the boundaries weak and strong, some of them closed."""
    generator = torch.Generator().manual_seed(seed)
    activation = torch.rand(images, classes, height, width, generator=generator, dtype=torch.float64) - 0.2
    boundary = torch.rand(images, height, width, generator=generator, dtype=torch.float64) ** 4
    closed = torch.rand(images, height, width, generator=generator) < 0.1
    return activation, torch.where(closed, 1.0, boundary)


walks = st.builds(
    make_walk,
    images=st.integers(1, 3),
    classes=st.integers(1, 4),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)


def close(found: Any, expected: Any, atol: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=atol)


class TestRandomWalk:
    @drawn
    @given(walks, st.sampled_from([2, 5]), st.integers(0, 4))
    def test_images_and_classes_can_be_permuted_and_all_mirrored_and_turned(
        self, walk: tuple[Tensor, Tensor], radius: int, exp_times: int
    ) -> None:
        activation, boundary = walk
        found = random_walk(activation, boundary, radius, exp_times=exp_times)
        turned = random_walk(activation.flip(0, 1, 2, 3), boundary.flip(0, 1, 2), radius, exp_times=exp_times)
        close(turned, found.flip(0, 1, 2, 3))
        turned = random_walk(activation.transpose(2, 3), boundary.transpose(1, 2), radius, exp_times=exp_times)
        close(turned, found.transpose(2, 3))

    @drawn
    @given(walks, st.sampled_from([1e-300, 1e-30, 1e6, 1e29]))
    def test_is_linear_in_the_activation(self, walk: tuple[Tensor, Tensor], factor: float) -> None:
        activation, boundary = walk
        found = random_walk(activation, boundary)
        close(random_walk(activation * factor, boundary) / factor, found)
        assert not random_walk(activation * 0, boundary).any()
        sums = random_walk(activation.cumsum(1), boundary)
        close(sums, found.cumsum(1))

    @pytest.mark.parametrize('largest', [9e29, 1e-38, 1e-44])
    @few
    @given(walk=walks)
    def test_largest_and_smallest_activations_in_float32(self, largest: float, walk: tuple[Tensor, Tensor]) -> None:
        activation, boundary = walk
        activation = activation / activation.abs().max()
        found = random_walk((activation * largest).float(), boundary.float(), radius=10)
        assert torch.isfinite(found).all()
        if largest > 1:
            close(found.double() / largest, random_walk(activation, boundary, radius=10), atol=1e-4)

    @drawn
    @given(walks)
    def test_values_stay_between_those_of_the_source(self, walk: tuple[Tensor, Tensor]) -> None:
        activation, boundary = walk
        source = activation * (1 - boundary[:, None])
        found = random_walk(activation, boundary)
        assert (found >= source.amin(dim=(2, 3), keepdim=True)).all()
        assert (found <= source.amax(dim=(2, 3), keepdim=True)).all()

    @drawn
    @given(walks, st.floats(0, 0.99))
    def test_an_even_source_stays_even_whatever_the_boundaries(
        self, walk: tuple[Tensor, Tensor], strength: float
    ) -> None:
        boundary = walk[1] * strength
        activation = (1 / (1 - boundary))[:, None]
        close(random_walk(activation, boundary), torch.ones_like(activation))

    @drawn
    @given(walks)
    def test_pixels_on_a_closed_boundary_get_nothing_and_give_nothing(self, walk: tuple[Tensor, Tensor]) -> None:
        activation, boundary = walk
        closed = (boundary == 1)[:, None].expand_as(activation)
        found = random_walk(activation, boundary)
        assert not found[closed].any()
        close(random_walk(torch.where(closed, 7.0, activation), boundary), found)

    @drawn
    @given(walks, st.integers(0, 3), st.integers(0, 3))
    def test_padding_with_boundaries_changes_nothing(
        self, walk: tuple[Tensor, Tensor], right: int, bottom: int
    ) -> None:
        activation, boundary = walk
        height, width = boundary.shape[1:]
        padded = random_walk(
            torch.nn.functional.pad(activation, (0, right, 0, bottom), value=3.0),
            torch.nn.functional.pad(boundary, (0, right, 0, bottom), value=1.0),
        )
        close(padded[..., :height, :width], random_walk(activation, boundary))
        assert padded.count_nonzero() == padded[..., :height, :width].count_nonzero()

    @drawn
    @given(walks)
    def test_an_absent_class_stays_zero_and_one_given_twice_is_found_twice(self, walk: tuple[Tensor, Tensor]) -> None:
        activation, boundary = walk
        more = torch.cat([activation, activation[:, :1] * 0, activation], dim=1)
        classes = activation.shape[1]
        found = random_walk(more, boundary)
        assert not found[:, classes].any()
        assert torch.equal(found[:, :classes], found[:, classes + 1 :])
        close(found[:, :classes], random_walk(activation, boundary))

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    @few
    @given(walk=walks)
    def test_precision_device_and_layout_do_not_matter_and_twice_is_the_same(
        self, device: str, dtype: torch.dtype, walk: tuple[Tensor, Tensor]
    ) -> None:
        activation, boundary = (each.to(dtype).to(device) for each in walk)
        found = random_walk(activation, boundary)
        assert (found.dtype, found.device) == (dtype, activation.device)
        assert torch.equal(random_walk(activation, boundary), found)
        close(found.cpu().double(), random_walk(*walk), atol=1e-5 if dtype == torch.float32 else 1e-12)
        odd = (
            activation.contiguous(memory_format=torch.channels_last),
            boundary.repeat_interleave(2, dim=1)[:, ::2],
        )
        close(random_walk(*odd), found, atol=1e-6)

    def test_one_pixel_keeps_what_its_boundary_lets_through(self) -> None:
        found = random_walk(torch.tensor([[[3.0]], [[-2.0]]]), torch.tensor([[0.25]]))
        assert found.flatten().tolist() == [2.25, -1.5]

    def test_a_thousand_classes(self) -> None:
        activation, boundary = make_walk(1, 1000, 4, 5, seed=3)
        found = random_walk(activation, boundary)
        close(found[:, 990:], random_walk(activation[:, 990:], boundary))


class TestPixelPairs:
    @drawn
    @given(st.integers(2, 12))
    def test_a_path_is_the_same_seen_from_its_other_end_and_mirrored(self, radius: int) -> None:
        for dy, dx in half_disc(radius):
            points = path((dy, dx))
            assert {(dy - y, dx - x) for y, x in points} == set(points)
            assert {(y, -x) for y, x in points} == set(path((dy, -dx)))
            if dx >= 0:
                assert {(x, y) for y, x in points} == set(path((dx, dy)))

    @drawn
    @given(st.integers(2, 12))
    def test_a_smaller_disc_is_part_of_a_larger_one(self, radius: int) -> None:
        assert set(half_disc(radius)) < set(half_disc(radius + 1))

    @drawn
    @given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(half_disc(7)))
    def test_first_and_second_pixels_mirror_each_other(
        self, height: int, width: int, displacement: tuple[int, int]
    ) -> None:
        maps = torch.arange(height * width).view(height, width)
        first, second = at_pairs(maps, displacement), at_pairs(maps, displacement, displacement)
        assert first.shape == second.shape == (max(height - displacement[0], 0), max(width - abs(displacement[1]), 0))
        assert torch.equal(at_pairs(maps.flip(0, 1), displacement).flip(0, 1), second)


class TestHeldBackByBackground:
    @pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
    @pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
    @few
    @given(classes=st.integers(0, 4), height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 999))
    def test_any_precision_and_order_of_classes_and_mirrored(
        self, kind: Any, dtype: Any, classes: int, height: int, width: int, seed: int
    ) -> None:
        is_cam = (np.random.default_rng(seed).random((classes + 1, height, width)) * 1.2).astype(dtype)
        found = np.asarray(held_back_by_background(kind(is_cam)))
        assert found.dtype == dtype
        assert not found[0].any()
        assert (found >= 0).all()
        assert (found <= is_cam).all()
        assert not found[:, is_cam[0] >= 1].any()
        turned = np.concatenate([is_cam[:1], is_cam[:0:-1]])[:, ::-1, ::-1].copy()
        turned = np.asarray(held_back_by_background(kind(turned)))
        np.testing.assert_array_equal(turned[1:][::-1, ::-1, ::-1], found[1:])

    def test_a_thousand_classes_and_one_pixel(self) -> None:
        is_cam = torch.linspace(0.25, 1, 1001)[:, None, None]
        close(held_back_by_background(is_cam)[1:], is_cam[1:] * 0.75)


def make_picture(height: int, width: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of flat areas with noise, and a label map that follows them roughly."""
    rng = np.random.default_rng(seed)
    areas = rng.integers(0, labels, (-(-height // 4), -(-width // 4))).repeat(4, 0).repeat(4, 1)[:height, :width]
    colours = rng.integers(0, 256, (labels, 3))
    image = (colours[areas] + rng.normal(0, 4, (height, width, 3))).clip(0, 255).astype(np.uint8)
    return image, np.where(rng.random(areas.shape) < 0.2, rng.integers(0, labels, areas.shape), areas)


def probabilities_of(labels: np.ndarray, count: int, dtype: Any = np.float64) -> np.ndarray:
    return np.where(labels == np.arange(count)[:, None, None], 0.6, 0.4 / max(count - 1, 1)).astype(dtype)


pictures = st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(2, 5), st.integers(0, 10_000))


@needs_crf
class TestDenseCRF:
    @drawn
    @given(pictures)
    def test_probabilities_add_up_to_1_and_their_order_does_not_matter(self, picture: tuple[int, ...]) -> None:
        image, labels = make_picture(*picture)
        probabilities = probabilities_of(labels, picture[2])
        found = dense_crf_probabilities(image, probabilities)
        assert found.dtype == np.float32
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_allclose(dense_crf_probabilities(image, probabilities[::-1]), found[::-1], atol=1e-5)

    @drawn
    @given(st.tuples(st.integers(12, 20), st.integers(12, 20), st.integers(2, 5), st.integers(0, 10_000)))
    def test_a_mirrored_image_gives_about_the_mirrored_probabilities(self, picture: tuple[int, ...]) -> None:
        """About, because the lattice that pydensecrf2 filters on has corners of its own; worse in tiny images."""
        image, labels = make_picture(*picture)
        probabilities = probabilities_of(labels, picture[2])
        weak = dict(gaussian_sxy=2, gaussian_compat=1, bilateral_sxy=15, bilateral_srgb=8, bilateral_compat=2)
        found = dense_crf_probabilities(image, probabilities, **weak)
        mirrored = dense_crf_probabilities(image[:, ::-1], probabilities[..., ::-1], **weak)
        assert np.abs(mirrored[..., ::-1] - found).mean() < 0.03
        mirrored = dense_crf_probabilities(image[::-1], probabilities[:, ::-1], **weak)
        assert np.abs(mirrored[:, ::-1] - found).mean() < 0.03

    @pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
    @few
    @given(picture=pictures)
    def test_precision_and_layout_do_not_matter_and_twice_is_the_same(
        self, dtype: Any, picture: tuple[int, ...]
    ) -> None:
        image, labels = make_picture(*picture)
        probabilities = probabilities_of(labels, picture[2])
        low = probabilities.astype(dtype)
        found = dense_crf_probabilities(image, low)
        np.testing.assert_array_equal(dense_crf_probabilities(image, low), found)
        np.testing.assert_array_equal(dense_crf_probabilities(image, np.asfortranarray(low)), found)
        expected = dense_crf_probabilities(image, probabilities)
        np.testing.assert_allclose(found, expected, atol=0.02 if dtype == np.float16 else 1e-3)

    @pytest.mark.parametrize('dtype', [np.uint8, np.int8, np.int32, np.uint64])
    @few
    @given(picture=pictures)
    def test_labels_of_any_integer_type_and_in_any_order(self, dtype: Any, picture: tuple[int, ...]) -> None:
        image, labels = make_picture(*picture)
        count = picture[2]
        found = dense_crf(image, labels.astype(dtype), count)
        np.testing.assert_array_equal(dense_crf(image, labels, count), found)
        np.testing.assert_array_equal(count - 1 - dense_crf(image, count - 1 - labels, count), found)

    @drawn
    @given(pictures)
    def test_labels_that_are_all_the_same_stay(self, picture: tuple[int, ...]) -> None:
        image, labels = make_picture(*picture)
        np.testing.assert_array_equal(dense_crf(image, labels * 0 + 1, picture[2]), labels * 0 + 1)

    @drawn
    @given(pictures, st.sampled_from([0.0, 1e-3, 1e6, 1e30]))
    def test_zero_and_huge_settings_give_numbers(self, picture: tuple[int, ...], number: float) -> None:
        image, labels = make_picture(*picture)
        probabilities = probabilities_of(labels, picture[2])
        for settings_ in (
            dict(gaussian_compat=number, bilateral_compat=number),
            dict(gaussian_sxy=number or 0.1, bilateral_sxy=number or 0.1, bilateral_srgb=number or 0.1),
        ):
            found = dense_crf_probabilities(image, probabilities, **settings_)
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)

    def test_one_pixel_keeps_its_label(self) -> None:
        image = np.array([[[9, 200, 30]]], np.uint8)
        assert dense_crf(image, np.array([[2]]), 4).tolist() == [[2]]

    def test_a_thousand_labels(self) -> None:
        image, labels = make_picture(12, 12, 4, seed=1)
        found = dense_crf(image, labels * 333, 1000)
        assert set(np.unique(found)) <= {0, 333, 666, 999}


def make_is_cam(picture: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, IS-CAM that has no two equal values at a pixel, and the keys of its channels."""
    image, labels = make_picture(*picture)
    rng = np.random.default_rng(picture[-1])
    is_cam = probabilities_of(labels, picture[2]) + rng.random((picture[2], *labels.shape)) * 0.3
    return image, is_cam, np.concatenate([[0], 1 + rng.permutation(20)[: picture[2] - 1]])


@needs_crf
@pytest.mark.parametrize('thresholds', [None, (0.6, 0.2)])
class TestIRLabels:
    @few
    @given(picture=pictures)
    def test_order_of_classes_layout_and_precision_do_not_matter(
        self, thresholds: tuple[float, float] | None, picture: tuple[int, ...]
    ) -> None:
        image, is_cam, keys = make_is_cam(picture)
        is_cam = is_cam.astype(np.float32)
        found = ir_labels(image, is_cam, keys, thresholds=thresholds)
        assert found.dtype == np.uint8
        assert set(np.unique(found)) <= {*keys.tolist(), 255}
        np.testing.assert_array_equal(ir_labels(image, is_cam, keys, thresholds=thresholds), found)
        order = np.concatenate([[0], 1 + np.arange(len(keys) - 1)[::-1]])
        turned = ir_labels(image, is_cam[order], keys[order], thresholds=thresholds)
        np.testing.assert_array_equal(turned, found)
        for same in (is_cam.astype(np.float64), np.asfortranarray(is_cam)):
            np.testing.assert_array_equal(ir_labels(image, same, keys, thresholds=thresholds), found)

    @few
    @given(picture=pictures)
    def test_an_absent_class_is_no_label(
        self, thresholds: tuple[float, float] | None, picture: tuple[int, ...]
    ) -> None:
        image, is_cam, keys = make_is_cam(picture)
        is_cam[1] = 0
        found = ir_labels(image, is_cam, keys, thresholds=thresholds, iterations=0)
        assert keys[1] not in found

    @few
    @given(picture=pictures)
    def test_without_crf_it_is_the_two_argmaxes(
        self, thresholds: tuple[float, float] | None, picture: tuple[int, ...]
    ) -> None:
        image, is_cam, keys = make_is_cam(picture)
        found = ir_labels(image, is_cam, keys, thresholds=thresholds, iterations=0)
        classes = is_cam[1:]
        if thresholds is None:
            first, second = is_cam[0], is_cam[0] / 2
        else:
            classes = classes * np.maximum(1 - is_cam[0], 0)
            first, second = np.multiply(thresholds, max(classes.max(), 1e-30))
        strongest = classes.max(axis=0)
        expected = np.where(strongest <= second, 0, 255)
        expected = np.where(strongest > first, keys[1:][classes.argmax(axis=0)], expected)
        np.testing.assert_array_equal(found, expected)

    def test_one_pixel_and_one_class(self, thresholds: tuple[float, float] | None) -> None:
        image = np.array([[[9, 200, 30]]], np.uint8)
        for background, expected in ((0.1, 7), (2.5, 0)):
            is_cam = np.array([background, 1.0])[:, None, None]
            assert ir_labels(image, is_cam, np.array([0, 7]), thresholds=thresholds).tolist() == [[expected]]

    @pytest.mark.parametrize('scale', [1e-30, 1e30])
    def test_tiny_and_huge_is_cams(self, thresholds: tuple[float, float] | None, scale: float) -> None:
        image, is_cam, keys = make_is_cam((8, 8, 3, 5))
        if thresholds is not None:
            is_cam[0] = 0  # the share of the background is meant for values up to about 1
        found = ir_labels(image, (is_cam * scale).astype(np.float32), keys, thresholds=thresholds)
        np.testing.assert_array_equal(found, ir_labels(image, is_cam.astype(np.float32), keys, thresholds=thresholds))

    def test_every_key_that_a_label_map_can_hold(self, thresholds: tuple[float, float] | None) -> None:
        image, labels = make_picture(12, 12, 4, seed=1)
        is_cam = np.zeros((255, 12, 12), np.float32)
        np.put_along_axis(is_cam, labels[None] * 80 + 1, 1.0, axis=0)
        found = ir_labels(image, is_cam, np.arange(255), thresholds=thresholds, iterations=0)
        np.testing.assert_array_equal(found, labels * 80 + 1)
