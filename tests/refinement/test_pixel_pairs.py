import itertools

import numpy as np
import pytest
import torch

from sipe_mmseg.refinement.pixel_pairs import at_pairs, half_disc, path


@pytest.mark.parametrize('radius', [2, 3, 5, 10])
def test_half_disc_has_one_of_each_pair_of_neighbours(radius: int) -> None:
    disc = half_disc(radius)
    expected = set()
    for dy in range(-2 * radius, 2 * radius):
        for dx in range(-2 * radius, 2 * radius):
            if 0 < np.hypot(dy, dx) < radius:
                expected.add((dy, dx))
    assert len(disc) == len(set(disc)) == len(expected) / 2
    assert {*disc, *((-dy, -dx) for dy, dx in disc)} == expected
    assert all(dy > 0 or (dy == 0 and dx > 0) for dy, dx in disc)
    assert disc == sorted(disc)


def test_half_disc_of_radius_5_has_34_displacements() -> None:
    assert len(half_disc(5)) == 34


@pytest.mark.parametrize('radius', [1, 0, -3])
def test_a_radius_without_neighbours_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=f'at least 2, not {radius}'):
        half_disc(radius)


@pytest.mark.parametrize('displacement', half_disc(6))
def test_path_has_the_points_of_the_box_nearer_than_one_to_the_line(displacement: tuple[int, int]) -> None:
    expected = set()
    for y, x in itertools.product(range(-8, 9), repeat=2):
        inside = all(min(0, end) <= at <= max(0, end) for at, end in zip((y, x), displacement, strict=True))
        direction = np.array(displacement) / np.linalg.norm(displacement)
        away = np.array([y, x]) - np.dot([y, x], direction) * direction
        if inside and np.linalg.norm(away) < 1 - 1e-9:
            expected.add((y, x))
    assert len(path(displacement)) == len(expected)
    assert set(path(displacement)) == expected
    assert {(0, 0), displacement} <= expected


def test_paths_by_hand() -> None:
    assert path((0, 3)) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert path((2, -2)) == [(0, -1), (0, 0), (1, -2), (1, -1), (1, 0), (2, -2), (2, -1)]
    assert path((2, 1)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize('size', [(6, 7), (1, 9), (9, 1), (3, 3)])
def test_at_pairs_has_the_pixels_of_a_double_loop(size: tuple[int, int]) -> None:
    height, width = size
    maps = torch.arange(2 * height * width).view(2, height, width)
    for dy, dx in half_disc(5):
        for y, x in path((dy, dx)):
            expected = []
            for row in range(height):
                for column in range(width):
                    if 0 <= row + dy < height and 0 <= column + dx < width:
                        expected.append(maps[1, row + y, column + x].item())
            assert at_pairs(maps, (dy, dx), (y, x))[1].flatten().tolist() == expected


def test_at_pairs_is_a_view() -> None:
    maps = torch.zeros(3, 3)
    at_pairs(maps, (1, -1)).fill_(1)
    assert maps.tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
