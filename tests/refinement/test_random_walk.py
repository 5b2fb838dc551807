import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sipe_mmseg.refinement import random_walk
from sipe_mmseg.refinement.random_walk import chebyshev_coefficients

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]


def transition(boundary: np.ndarray, radius: int, beta: float) -> np.ndarray:
    """Slow and obvious: T (n, n) of a map (h, w), a pair of pixels at a time."""
    pixels = list(itertools.product(*(range(side) for side in boundary.shape)))
    matrix = np.zeros((len(pixels), len(pixels)))
    for a, (ya, xa) in enumerate(pixels):
        for b, (yb, xb) in enumerate(pixels):
            dy, dx = yb - ya, xb - xa
            if a == b:
                matrix[a, b] = 1
            elif dy * dy + dx * dx < radius * radius:
                largest = 0.0
                for y in range(min(ya, yb), max(ya, yb) + 1):
                    for x in range(min(xa, xb), max(xa, xb) + 1):
                        if (dy * (x - xa) - dx * (y - ya)) ** 2 < dy * dy + dx * dx:
                            largest = max(largest, boundary[y, x])
                matrix[a, b] = (1 - largest) ** beta
    return matrix / matrix.sum(axis=0)


def slow_walk(
    activation: np.ndarray, boundary: np.ndarray, radius: int = 5, beta: float = 10, exp_times: int = 8
) -> np.ndarray:
    """The dense way: one row vector a class times T, 2 ** exp_times times."""
    matrix = transition(boundary, radius, beta)
    values = (activation * (1 - boundary)).reshape(len(activation), -1)
    for _ in range(2**exp_times):
        values = values @ matrix
    return values.reshape(activation.shape)


def random_maps(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Activations (size) and boundaries (size without the third last), most of them weak and some strong."""
    generator = torch.Generator().manual_seed(seed)
    activation = torch.rand(size, generator=generator, dtype=torch.float64)
    boundary = torch.rand(*size[:-3], *size[-2:], generator=generator, dtype=torch.float64) ** 4
    return activation.to(dtype), boundary.to(dtype)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(
    ('radius', 'beta', 'exp_times'), [(5, 10, 8), (5, 10, 0), (5, 10, 1), (2, 1, 5), (3, 8.5, 6), (10, 4, 3)]
)
@pytest.mark.parametrize('size', [(3, 9, 11), (1, 12, 4), (2, 1, 13), (2, 13, 1), (4, 3, 3), (2, 1, 1), (1, 2, 7)])
def test_equals_the_dense_way(
    size: tuple[int, int, int], radius: int, beta: float, exp_times: int, device: str
) -> None:
    activation, boundary = random_maps(*size, seed=sum(size) + radius)
    expected = slow_walk(activation.numpy(), boundary.numpy(), radius, beta, exp_times)
    exact = random_walk(activation.to(device), boundary.to(device), radius, beta, exp_times, tolerance=0)
    np.testing.assert_allclose(exact.cpu(), expected, rtol=0, atol=1e-11)
    found = random_walk(activation.to(device), boundary.to(device), radius, beta, exp_times)
    np.testing.assert_allclose(found.cpu(), expected, rtol=0, atol=2e-6)
    single = random_walk(activation.to(device).float(), boundary.to(device).float(), radius, beta, exp_times)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.cpu(), expected, rtol=0, atol=1e-5)


@pytest.fixture(scope='module')
def iterated() -> tuple[Tensor, Tensor, Tensor]:
    """Activation, boundary, and the walk of 256 steps as 256 products, one after the other."""
    activation, boundary = random_maps(3, 40, 54)
    boundary *= 0.9
    values = activation * (1 - boundary)
    for _ in range(256):
        # A walk of one step is a product with T of what is left after multiplying by 1 - boundary.
        values = random_walk(values / (1 - boundary), boundary, exp_times=0)
    return activation, boundary, values


@pytest.mark.parametrize('tolerance', [1e-2, 1e-4, 1e-6, 1e-9])
def test_polynomial_agrees_with_plain_iteration(iterated: tuple[Tensor, Tensor, Tensor], tolerance: float) -> None:
    activation, boundary, expected = iterated
    found = random_walk(activation, boundary, tolerance=tolerance)
    assert (found - expected).abs().max() < 3 * tolerance * expected.max()


@pytest.mark.parametrize('device', DEVICES)
def test_float32_holds_over_long_walks(device: str) -> None:
    activation, boundary = random_maps(2, 30, 40)
    expected = random_walk(activation, boundary, exp_times=12, tolerance=0)
    found = random_walk(activation.float().to(device), boundary.float().to(device), exp_times=12).cpu()
    assert (found - expected).abs().max() < 2e-5 * expected.max()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_batch_equals_one_by_one(dtype: torch.dtype, device: str) -> None:
    activation, boundary = (maps.to(device) for maps in random_maps(3, 2, 12, 17, dtype=dtype))
    found = random_walk(activation, boundary)
    assert found.shape == activation.shape
    assert (found.dtype, found.device) == (dtype, activation.device)
    for index in range(3):
        alone = random_walk(activation[index], boundary[index])
        torch.testing.assert_close(found[index], alone, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)


def test_other_classes_change_nothing() -> None:
    activation, boundary = random_maps(4, 10, 15)
    together = random_walk(activation, boundary)
    for index in range(4):
        torch.testing.assert_close(together[index], random_walk(activation[index : index + 1], boundary)[0])
    torch.testing.assert_close(random_walk(activation.flip(0), boundary), together.flip(0))


@pytest.mark.parametrize('dims', [(-1,), (-2,), (-2, -1)])
def test_mirrored_maps_give_mirrored_walks(dims: tuple[int, ...]) -> None:
    activation, boundary = random_maps(2, 11, 14)
    found = random_walk(activation.flip(dims), boundary.flip(dims))
    torch.testing.assert_close(found, random_walk(activation, boundary).flip(dims))


def test_non_contiguous_maps() -> None:
    activation, boundary = random_maps(2, 3, 14, 11)
    expected = random_walk(activation.transpose(2, 3).contiguous(), boundary.transpose(1, 2).contiguous())
    torch.testing.assert_close(random_walk(activation.transpose(2, 3), boundary.transpose(1, 2)), expected)
    expanded = boundary[:1].expand(2, -1, -1)
    torch.testing.assert_close(random_walk(activation, expanded), random_walk(activation, expanded.contiguous()))


def test_arguments_are_left_alone_and_no_gradient_passes() -> None:
    activation, boundary = random_maps(2, 8, 9)
    copies = activation.clone(), boundary.clone()
    assert not random_walk(activation.requires_grad_(), boundary.requires_grad_()).requires_grad
    assert torch.equal(activation, copies[0])
    assert torch.equal(boundary, copies[1])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_boundaries_everywhere_leave_nothing(dtype: torch.dtype) -> None:
    assert not random_walk(torch.rand(2, 9, 9, dtype=dtype), torch.ones(9, 9, dtype=dtype)).any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_constant_map_without_boundaries_stays_constant(dtype: torch.dtype) -> None:
    maps = torch.full((1, 20, 30), 0.3, dtype=dtype)
    torch.testing.assert_close(random_walk(maps, torch.zeros(20, 30, dtype=dtype)), maps)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_values_stay_between_those_of_the_source(dtype: torch.dtype) -> None:
    activation, boundary = random_maps(3, 30, 41, dtype=dtype)
    activation[1] *= -1
    activation[2] = 0
    activation[2, 5, 5] = 1
    source = activation * (1 - boundary)
    found = random_walk(activation, boundary)
    assert (found >= source.amin(dim=(1, 2), keepdim=True)).all()
    assert (found <= source.amax(dim=(1, 2), keepdim=True)).all()
    assert (found[2] > 0).any()


def test_a_closed_boundary_lets_nothing_through() -> None:
    activation, boundary = torch.zeros(1, 15, 20), torch.zeros(15, 20)
    activation[:, :, :8] = torch.rand(15, 8)
    boundary[:, 8] = 1
    found = random_walk(activation, boundary, exp_times=12)
    assert not found[:, :, 8:].any()
    torch.testing.assert_close(
        found[:, :, :8], random_walk(activation[:, :, :8], boundary[:, :8], exp_times=12), rtol=0, atol=1e-6
    )


def test_padding_with_boundaries_changes_nothing() -> None:
    activation, boundary = random_maps(2, 10, 12)
    padded_activation, padded_boundary = torch.rand(2, 16, 19).double(), torch.ones(16, 19).double()
    padded_activation[:, :10, :12] = activation
    padded_boundary[:10, :12] = boundary
    found = random_walk(padded_activation, padded_boundary)
    torch.testing.assert_close(found[:, :10, :12], random_walk(activation, boundary), rtol=0, atol=1e-12)
    assert not found[:, 10:].any()
    assert not found[:, :, 12:].any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_large_map_without_a_dense_matrix(dtype: torch.dtype) -> None:
    """n x n would be 100 GB here."""
    activation, boundary = random_maps(2, 400, 400, dtype=dtype)
    found = random_walk(activation, boundary, exp_times=4)
    assert torch.isfinite(found).all()
    # Far from the crop's edges nothing is different: 16 steps of at most 4 pixels.
    crop = random_walk(activation[:, :160, :160], boundary[:160, :160], exp_times=4)
    torch.testing.assert_close(found[:, :90, :90], crop[:, :90, :90], rtol=0, atol=2e-6)


@pytest.mark.parametrize('power', [1, 2, 4, 8, 32, 256])
def test_chebyshev_coefficients(power: int) -> None:
    coefficients = chebyshev_coefficients(power, 0)
    expected = [
        math.comb(power, (power - j) // 2) / 2 ** (power - (j > 0)) if (power - j) % 2 == 0 else 0.0
        for j in range(power + 1)
    ]
    np.testing.assert_allclose(coefficients, expected, rtol=1e-10)
    angles = np.linspace(0, np.pi, 101)
    series = sum(c * np.cos(j * angles) for j, c in enumerate(coefficients))
    np.testing.assert_allclose(series, np.cos(angles) ** power, rtol=0, atol=1e-13)


@pytest.mark.parametrize('tolerance', [1e-3, 1e-6, 1e-9])
def test_chebyshev_coefficients_are_cut_at_the_tolerance(tolerance: float) -> None:
    power = 256
    coefficients = chebyshev_coefficients(power, tolerance)
    assert len(coefficients) - 1 <= math.sqrt(2 * power * math.log(2 / tolerance))
    assert sum(coefficients) == pytest.approx(1, abs=1e-12)
    kept = sum(chebyshev_coefficients(power, 0)[: len(coefficients)])
    assert 1 - tolerance <= kept < 1
    assert coefficients[-1] > 0
    assert 1 - kept + coefficients[-1] > tolerance
    angles = np.linspace(0, np.pi, 1001)
    series = sum(c * np.cos(j * angles) for j, c in enumerate(coefficients))
    assert np.abs(series - np.cos(angles) ** power).max() <= 2 * tolerance


def test_coefficients_that_add_up_to_just_the_tolerance_are_left_out() -> None:
    assert chebyshev_coefficients(2, 0.5) == [1.0]
    assert chebyshev_coefficients(2, 0.49) == [0.5, 0.0, 0.5]


def test_published_walk_takes_78_products() -> None:
    assert len(chebyshev_coefficients(256, 1e-6)) == 79


@pytest.mark.parametrize(
    ('value', 'edge', 'settings'),
    [(1e30, 0.0, {}), (-1e30, 1.0, {}), (1.0, 0.0, dict(exp_times=0, tolerance=0)), (1.0, 1.0, dict(tolerance=0.99))],
)
def test_arguments_at_the_edge_of_their_range(value: float, edge: float, settings: dict) -> None:
    activation = torch.full((1, 3, 4), value, dtype=torch.float64)
    found = random_walk(activation, torch.full((3, 4), edge, dtype=torch.float64), **settings)
    torch.testing.assert_close(found, activation * (1 - edge))


def maps(*size: int, **kwargs: object) -> Tensor:
    return torch.full(size, 0.5, **kwargs)


@pytest.mark.parametrize(
    ('activation', 'boundary', 'settings', 'error', 'message'),
    [
        (maps(2, 4, 5), maps(5, 4), {}, ValueError, r'activation is \(2, 4, 5\) and boundary \(5, 4\)'),
        (maps(2, 4, 5), maps(1, 4, 5), {}, ValueError, r'boundary \(1, 4, 5\)'),
        (maps(2, 3, 4, 5), maps(4, 5), {}, ValueError, r'\(N, C, h, w\) and \(N, h, w\)'),
        (maps(2, 3, 4, 5), maps(3, 4, 5), {}, ValueError, r'boundary \(3, 4, 5\)'),
        (maps(4, 5), maps(4, 5), {}, ValueError, r'activation is \(4, 5\)'),
        (maps(2, 0, 5), maps(0, 5), {}, ValueError, 'not empty'),
        (maps(2, 4, 5), maps(4, 5) + 1, {}, ValueError, r'from 1.5 to 1.5: they must be in \[0, 1\]'),
        (maps(2, 4, 5), maps(4, 5) - 1, {}, ValueError, 'as after a sigmoid'),
        (maps(2, 4, 5), maps(4, 5) * math.nan, {}, ValueError, 'from nan'),
        (
            maps(2, 4, 5) * math.inf,
            maps(4, 5),
            {},
            ValueError,
            r'activation .* from inf to inf: .* in \[-1e\+30, 1e\+30\]',
        ),
        (maps(2, 4, 5) * math.nan, maps(4, 5), {}, ValueError, 'activation has values from nan to nan'),
        (maps(2, 4, 5) * -4e30, maps(4, 5), {}, ValueError, 'activation has values from -2'),
        (maps(2, 4, 5), maps(4, 5, dtype=torch.float64), {}, TypeError, 'float32 and boundary torch.float64'),
        (maps(2, 4, 5).half(), maps(4, 5).half(), {}, TypeError, 'both must be float32, or both float64'),
        (maps(2, 4, 5).long(), maps(4, 5).long(), {}, TypeError, 'int64'),
        (maps(2, 4, 5, device='meta'), maps(4, 5), {}, ValueError, 'on meta, but boundary on cpu'),
        (maps(2, 4, 5), maps(4, 5), dict(radius=1), ValueError, 'radius must be at least 2, not 1'),
        (maps(2, 4, 5), maps(4, 5), dict(beta=0), ValueError, 'beta must be larger than 0, not 0'),
        (maps(2, 4, 5), maps(4, 5), dict(exp_times=-1), ValueError, 'exp_times .* not -1'),
        (maps(2, 4, 5), maps(4, 5), dict(exp_times=2.5), ValueError, 'exp_times .* not 2.5'),
        (maps(2, 4, 5), maps(4, 5), dict(tolerance=1), ValueError, 'tolerance .* not 1'),
    ],
)
def test_wrong_arguments(
    activation: Tensor, boundary: Tensor, settings: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        random_walk(activation, boundary, **settings)
