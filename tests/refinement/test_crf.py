import inspect
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from sipe_mmseg.refinement import dense_crf, dense_crf_probabilities, import_densecrf, ir_labels

needs_crf = pytest.mark.skipif(find_spec('pydensecrf') is None, reason='the extra crf is not installed')


def slow_mean_field(
    image: np.ndarray,
    probabilities: np.ndarray,
    gaussian_sxy: float,
    gaussian_compat: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_compat: float,
    iterations: int,
) -> np.ndarray:
    """Slow and obvious: kernels between all pairs of pixels, symmetrically normalised; Potts model."""
    num_labels, height, width = probabilities.shape
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing='ij'), -1).reshape(-1, 2).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    kernels = []
    for features, weight in (
        (place / gaussian_sxy, gaussian_compat),
        (np.hstack([place / bilateral_sxy, colour / bilateral_srgb]), bilateral_compat),
    ):
        kernel = np.exp(-((features[:, None] - features[None]) ** 2).sum(-1) / 2)
        root = np.sqrt(kernel.sum(axis=1))
        kernels.append(weight * kernel / root[:, None] / root[None])
    energy = -np.log(probabilities.reshape(num_labels, -1))

    def normalized(exponent: np.ndarray) -> np.ndarray:
        exponent = np.exp(exponent - exponent.max(axis=0))
        return exponent / exponent.sum(axis=0)

    belief = normalized(-energy)
    for _ in range(iterations):
        belief = normalized(-energy + sum(belief @ kernel for kernel in kernels))
    return belief.reshape(probabilities.shape)


def picture(seed: int = 0, height: int = 20, width: int = 26) -> tuple[np.ndarray, np.ndarray]:
    """An image of three coloured areas with noise, and which area each pixel is in."""
    rng = np.random.default_rng(seed)
    areas = np.zeros((height, width), np.int64)
    areas[height // 4 :, : width // 2] = 1
    areas[: height // 2, 2 * width // 3 :] = 2
    colours = np.array([[40, 60, 50], [200, 80, 70], [90, 90, 220]])
    return (colours[areas] + rng.normal(0, 3, (height, width, 3))).clip(0, 255).astype(np.uint8), areas


def spoiled(areas: np.ndarray, seed: int = 1, share: float = 0.2) -> np.ndarray:
    """The areas, with another label at a share of the pixels."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(areas.shape) < share, rng.integers(0, areas.max() + 1, areas.shape), areas)


@needs_crf
@pytest.mark.parametrize('iterations', [0, 1, 10])
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_probabilities_are_near_those_of_all_pairs(seed: int, iterations: int) -> None:
    """Near, because pydensecrf2 filters on a permutohedral lattice."""
    image, areas = picture(seed)
    probabilities = np.where(spoiled(areas, seed) == np.arange(3)[:, None, None], 0.6, 0.2)
    settings = dict(
        gaussian_sxy=2, gaussian_compat=1, bilateral_sxy=15, bilateral_srgb=8, bilateral_compat=2, iterations=iterations
    )
    found = dense_crf_probabilities(image, probabilities, **settings)
    expected = slow_mean_field(image, probabilities, **settings)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.abs(found - expected).mean() < 0.02
    assert (found.argmax(axis=0) == expected.argmax(axis=0)).mean() > 0.98


@needs_crf
@pytest.mark.parametrize('num_labels', [2, 3, 5])
def test_labels_start_with_gt_prob_and_equal_shares_of_the_rest(num_labels: int) -> None:
    image, areas = picture()
    labels = spoiled(areas) % num_labels
    probabilities = np.full((num_labels, *labels.shape), 0.3 / (num_labels - 1))
    for index in range(num_labels):
        probabilities[index][labels == index] = 0.7
    found = dense_crf(image, labels, num_labels)
    published = dict(
        gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=50, bilateral_srgb=5, bilateral_compat=10, iterations=10
    )
    np.testing.assert_array_equal(found, dense_crf_probabilities(image, probabilities, **published).argmax(axis=0))
    assert found.dtype == np.int64
    expected = slow_mean_field(image, probabilities, **published).argmax(axis=0)
    assert (found == expected).mean() > 0.97


@needs_crf
def test_labels_follow_the_edges_of_the_image() -> None:
    image, areas = picture(height=60, width=80)
    labels = spoiled(areas)
    found = dense_crf(image, labels, 3)
    assert (labels != areas).mean() > 0.1
    assert (found != areas).mean() < 0.01


@needs_crf
def test_labels_are_all_alike() -> None:
    image, areas = picture()
    labels = spoiled(areas)
    permutation = np.array([2, 0, 1])
    np.testing.assert_array_equal(dense_crf(image, permutation[labels], 3), permutation[dense_crf(image, labels, 3)])


@needs_crf
def test_no_iteration_changes_nothing() -> None:
    image, areas = picture()
    np.testing.assert_array_equal(dense_crf(image, areas, 3, iterations=0), areas)
    # Unless the label map is trusted so little that the rest is more likely.
    np.testing.assert_array_equal(dense_crf(image, areas % 2, 2, gt_prob=0.4, iterations=0), 1 - areas % 2)


def test_defaults_are_the_published_numbers() -> None:
    def defaults(function: Callable) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not each.empty}

    assert defaults(dense_crf) == dict(
        gt_prob=0.7,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=50,
        bilateral_srgb=5,
        bilateral_compat=10,
        iterations=10,
    )
    assert defaults(dense_crf_probabilities) == dict(
        gaussian_sxy=1,
        gaussian_compat=3,
        bilateral_sxy=67,
        bilateral_srgb=3,
        bilateral_compat=4,
        iterations=10,
        min_probability=1e-5,
    )
    assert defaults(ir_labels) == dict(background_scale=0.5, thresholds=None)


@needs_crf
def test_arguments_at_the_edge_of_their_range() -> None:
    image, areas = picture()
    one = np.full((1, *areas.shape), 1 + 1e-4)
    np.testing.assert_array_equal(dense_crf_probabilities(image, one), np.ones_like(one))
    alike = dense_crf_probabilities(image, np.concatenate([one, np.ones_like(one)]), iterations=0)
    np.testing.assert_array_equal(*alike)
    is_cam = np.stack([np.full(areas.shape, 0.5), np.where(areas == 1, 0.25, 0)])
    found = ir_labels(image, is_cam, np.array([0, 254]), background_scale=0, iterations=0)
    np.testing.assert_array_equal(found, np.where(areas == 1, 255, 0))
    found = ir_labels(image, is_cam, np.array([0, 254]), thresholds=(0.4, 0.4), iterations=0)
    np.testing.assert_array_equal(found, np.where(areas == 1, 254, 0))


@needs_crf
def test_arguments_can_be_given_by_name() -> None:
    image, areas = picture()
    is_cam = np.eye(3)[areas].transpose(2, 0, 1)
    np.testing.assert_array_equal(dense_crf(image=image, labels=areas, num_labels=3, iterations=0), areas)
    found = dense_crf_probabilities(image=image, probabilities=is_cam, iterations=0)
    np.testing.assert_array_equal(found.argmax(axis=0), areas)
    found = ir_labels(image=image, is_cam=is_cam, keys=np.arange(3), iterations=0)
    np.testing.assert_array_equal(found, areas)


def test_a_single_label_changes_nothing_and_needs_no_crf(without_pydensecrf: None) -> None:
    image, areas = picture()
    found = dense_crf(image, np.zeros_like(areas, dtype=np.uint8), 1)
    np.testing.assert_array_equal(found, np.zeros_like(areas))
    assert found.dtype == np.int64


@needs_crf
def test_non_contiguous_and_read_only_arrays() -> None:
    image, areas = picture()
    labels = spoiled(areas)
    expected = dense_crf(image, labels, 3)
    bgr = np.ascontiguousarray(image[..., ::-1])
    for array in (bgr, labels):
        array.flags.writeable = False
    np.testing.assert_array_equal(dense_crf(bgr[..., ::-1], labels, 3), expected)
    turned = dense_crf(
        np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2), np.asfortranarray(labels).astype(np.uint8), 3
    )
    np.testing.assert_array_equal(turned, expected)
    probabilities = np.moveaxis(np.eye(3)[labels] * 0.8 + 0.2 / 3, 2, 0)
    np.testing.assert_array_equal(
        dense_crf_probabilities(image, probabilities),
        dense_crf_probabilities(image, np.ascontiguousarray(probabilities)),
    )


@needs_crf
def test_arguments_are_left_alone() -> None:
    image, areas = picture()
    probabilities = np.eye(3)[areas].transpose(2, 0, 1)
    copies = image.copy(), areas.copy(), probabilities.copy()
    dense_crf(image, areas, 3)
    dense_crf_probabilities(image, probabilities)
    for array, copy in zip((image, areas, probabilities), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@needs_crf
def test_zero_probabilities_are_raised() -> None:
    image, areas = picture()
    probabilities = np.eye(3, dtype=np.float32)[spoiled(areas)].transpose(2, 0, 1)
    found = dense_crf_probabilities(image, probabilities)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, dense_crf_probabilities(image, probabilities.clip(1e-5, 1)))


@needs_crf
def test_ir_labels_are_made_of_two_runs() -> None:
    image, areas = picture(height=40, width=50)
    rng = np.random.default_rng(0)
    is_cam = np.eye(3)[areas].transpose(2, 0, 1) * 0.3 + rng.random((3, 40, 50)) * 0.3
    is_cam[0, :10, :33] += 1  # background beyond doubt
    is_cam[0, 20:, 25:] = is_cam[2, 20:, 25:] + 0.05  # background by a narrow margin, and of another colour
    image[20:, 25:] = [230, 230, 40]
    keys = np.array([0, 7, 20])
    first = dense_crf(image, is_cam.argmax(axis=0), 3)
    held_back = is_cam.copy()
    held_back[0] *= 0.5
    second = dense_crf(image, held_back.argmax(axis=0), 3)
    found = ir_labels(image, is_cam, keys)
    assert found.dtype == np.uint8
    for row in range(40):
        for column in range(50):
            expected = 255
            if first[row, column] > 0:
                expected = keys[first[row, column]]
            elif second[row, column] == 0:
                expected = 0
            assert found[row, column] == expected
    assert set(np.unique(found)) == {0, 7, 20, 255}
    # Not held back at all, nothing is unknown; other settings get through to the CRF.
    whole = ir_labels(image, is_cam, keys, background_scale=1, iterations=0)
    np.testing.assert_array_equal(whole, keys[is_cam.argmax(axis=0)])


@needs_crf
def test_ir_labels_with_thresholds() -> None:
    image, areas = picture(height=40, width=50)
    rng = np.random.default_rng(0)
    is_cam = np.eye(3)[areas].transpose(2, 0, 1) * 0.3 + rng.random((3, 40, 50)) * 0.3
    is_cam[0, :10, :33] = 1  # background beyond doubt
    is_cam[:, 20:, 25:] = np.array([0.3, 0.1, 0.35])[:, None, None]  # between the thresholds, and of another colour
    image[20:, 25:] = [230, 230, 40]
    keys = np.array([0, 7, 20])
    weakened = np.stack([is_cam[k] * (1 - is_cam[0]) for k in (1, 2)])
    weakened /= weakened.max()
    runs = [np.stack([np.full((40, 50), threshold), *weakened]).argmax(axis=0) for threshold in (0.6, 0.2)]
    first, second = (dense_crf(image, run, 3) for run in runs)
    expected = np.where(first > 0, keys[first], np.where(second == 0, 0, 255))
    found = ir_labels(image, is_cam, keys, thresholds=(0.6, 0.2))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 7, 20, 255}


def test_ir_labels_with_thresholds_of_background_alone(without_pydensecrf: None) -> None:
    image, _ = picture()
    is_cam = np.ones((1, *image.shape[:2]))
    assert not ir_labels(image, is_cam, np.array([0]), thresholds=(0.3, 0.05)).any()


@needs_crf
def test_with_thresholds_a_class_without_is_cam_is_background() -> None:
    image, _ = picture()
    is_cam = np.stack([np.ones(image.shape[:2]), np.zeros(image.shape[:2])])
    assert not ir_labels(image, is_cam, np.array([0, 3]), thresholds=(0.3, 0.05)).any()


def test_ir_labels_of_background_alone(without_pydensecrf: None) -> None:
    image, _ = picture()
    assert not ir_labels(image, np.ones((1, *image.shape[:2])), np.array([0])).any()


@pytest.fixture
def without_pydensecrf(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed: None makes Python's import fail."""
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)


def test_missing_pydensecrf_is_named_with_its_extra(without_pydensecrf: None) -> None:
    image, areas = picture()
    with pytest.raises(ImportError, match="the extra 'crf'"):
        dense_crf(image, areas, 3)
    with pytest.raises(ImportError, match=r'pip install pydensecrf2==1\.1'):
        import_densecrf()


IMAGE, AREAS = picture()
SOFT = np.eye(3)[AREAS].transpose(2, 0, 1)


@pytest.mark.parametrize(
    ('image', 'labels', 'num_labels', 'settings', 'error', 'message'),
    [
        (IMAGE, AREAS[:-1], 3, {}, ValueError, r'labels are \(19, 26\), but the image is \(20, 26\)'),
        (IMAGE, AREAS.T, 3, {}, ValueError, r'labels are \(26, 20\)'),
        (IMAGE, AREAS, 2, {}, ValueError, 'labels run from 0 to 2, but must be in 0 .. 1'),
        (IMAGE, AREAS - 1, 3, {}, ValueError, 'from -1 to 1'),
        (IMAGE, np.where(AREAS == 2, 255, AREAS), 3, {}, ValueError, 'from 0 to 255'),
        (IMAGE, AREAS * 0 + 1, 1, {}, ValueError, 'from 1 to 1, but must be in 0 .. 0'),
        (IMAGE, AREAS, 0, {}, ValueError, 'num_labels must be at least 1'),
        (IMAGE, AREAS.astype(float), 3, {}, TypeError, 'labels must be integers, not float64'),
        (IMAGE / 255, AREAS, 3, {}, TypeError, 'uint8 RGB .* not float64'),
        (IMAGE[..., 0], AREAS, 3, {}, ValueError, r'image is \(20, 26\)'),
        (IMAGE.transpose(2, 0, 1), AREAS, 3, {}, ValueError, r'image is \(3, 20, 26\)'),
        (IMAGE[:0], AREAS[:0], 3, {}, ValueError, 'not empty'),
        (IMAGE, AREAS, 3, dict(gt_prob=1), ValueError, 'gt_prob .* not 1'),
        (IMAGE, AREAS, 3, dict(gt_prob=0), ValueError, 'gt_prob .* not 0'),
        (IMAGE, AREAS, 3, dict(gaussian_sxy=0), ValueError, 'gaussian_sxy must be larger than 0'),
        (IMAGE, AREAS, 3, dict(bilateral_sxy=-1), ValueError, 'bilateral_sxy must be larger than 0, not -1'),
        (IMAGE, AREAS, 3, dict(bilateral_srgb=0), ValueError, 'bilateral_srgb must be larger than 0'),
        (IMAGE, AREAS, 3, dict(iterations=-1), ValueError, 'iterations must be at least 0, not -1'),
    ],
)
def test_wrong_arguments(
    image: np.ndarray, labels: np.ndarray, num_labels: int, settings: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dense_crf(image, labels, num_labels, **settings)


@pytest.mark.parametrize(
    ('probabilities', 'settings', 'message'),
    [
        (SOFT[:, :-1], {}, r'probabilities are \(3, 19, 26\), but must be .*, the image being \(20, 26\)$'),
        (AREAS, {}, r'must be \(labels, height, width\)'),
        (SOFT * 5, {}, 'from 0.0 to 5.0, but must be in .* as after a softmax'),
        (SOFT * 1.01, {}, 'from 0.0 to 1.01'),
        (SOFT - 1, {}, 'from -1.0'),
        (SOFT * np.nan, {}, 'from nan'),
        (SOFT, dict(min_probability=0), 'min_probability .* not 0'),
        (SOFT, dict(min_probability=1), 'min_probability .* not 1'),
        (SOFT[:0], {}, r'probabilities are \(0, 20, 26\)'),
        (SOFT[0], {}, r'probabilities are \(20, 26\)'),
        (SOFT[None], {}, r'probabilities are \(1, 3, 20, 26\)'),
        (np.array(0.5), {}, r'probabilities are \(\)'),
    ],
)
def test_wrong_probabilities(probabilities: np.ndarray, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dense_crf_probabilities(IMAGE, probabilities, **settings)


@pytest.mark.parametrize(
    ('is_cam', 'keys', 'settings', 'message'),
    [
        (SOFT[:2], [0, 1, 2], {}, r'is_cam is \(2, 20, 26\)'),
        (SOFT[:, 1:], [0, 1, 2], {}, r'an image of \(20, 26\)'),
        (SOFT, [1, 2, 3], {}, r'keys are \[1, 2, 3\], but must be 0, then'),
        (SOFT, [0, 2, 2], {}, 'different class indices'),
        (SOFT, [0, 2, 255], {}, 'in 1 .. 254'),
        (SOFT, [0, 2, -1], {}, 'in 1 .. 254'),
        (SOFT * np.nan, [0, 1, 2], {}, 'not a number'),
        (SOFT, [0, 1, 2], dict(background_scale=2), 'background_scale .* not 2'),
        (SOFT, [0, 1, 2], dict(background_scale=-0.1), 'background_scale .* not -0.1'),
        (SOFT, [0, 1, 2], dict(thresholds=(0.2, 0.4)), r'thresholds are 0\.2 and 0\.4, .* first not below the second'),
        (SOFT, [0, 1, 2], dict(thresholds=(0.4,)), r'thresholds are \(0\.4,\), but must be two numbers'),
        (SOFT, [0, 1, 2], dict(thresholds=(1, 0.4)), 'thresholds are 1 and'),
        (SOFT, [0, 1, 2], dict(thresholds=(0.4, 0)), 'thresholds are 0.4 and 0,'),
    ],
)
def test_wrong_ir_arguments(is_cam: np.ndarray, keys: list[int], settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ir_labels(IMAGE, is_cam, np.array(keys), **settings)


def test_a_wrong_image_is_named_first() -> None:
    turned = IMAGE.transpose(2, 0, 1)
    with pytest.raises(ValueError, match=r'the image is \(3, 20, 26\)'):
        dense_crf_probabilities(turned, SOFT)
    with pytest.raises(ValueError, match=r'the image is \(3, 20, 26\)'):
        ir_labels(turned, SOFT, np.arange(3))
