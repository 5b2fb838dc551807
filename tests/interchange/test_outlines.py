"""Polygons around regions give every label map back, whatever lies in, on or beside what."""

import numpy as np
import pytest

from sipe_mmseg.interchange.outlines import label_outlines, polygon_mask, trace_border


def drawn(labels: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    canvas = np.zeros_like(labels)
    for value, vertices in label_outlines(labels, tolerance):
        canvas[polygon_mask(vertices, labels.shape)] = value
    return canvas


def from_text(*rows: str) -> np.ndarray:
    return np.array([[int(character) for character in row] for row in rows], np.uint8)


MAPS = {
    'empty': from_text('000', '000'),
    'full': from_text('11', '11'),
    'one pixel': from_text('000', '020', '000'),
    'one pixel map': from_text('3'),
    'hole': from_text('00000', '01110', '01010', '01110', '00000'),
    'something in the hole': from_text('11111', '10001', '10201', '10001', '11111'),
    'hole open at a corner': from_text('0000', '0110', '0101', '0011', '0000'),
    'same class across a corner of the hole': from_text('1111', '1001', '1011', '1111'),
    'chessboard': np.indices((7, 6)).sum(axis=0).astype(np.uint8) % 2 * 3,
    'ring in ring': np.minimum.reduce([*np.indices((9, 9)), *(8 - np.indices((9, 9)))]).astype(np.uint8) % 2 + 1,
    'unknown': np.where(np.indices((5, 6)).sum(axis=0) % 3 == 0, 255, 7).astype(np.uint8),
}


@pytest.mark.parametrize('name', MAPS)
def test_drawn_again_it_is_the_same(name: str) -> None:
    assert (drawn(MAPS[name]) == MAPS[name]).all()


@pytest.mark.parametrize('seed', range(20))
def test_noise_is_the_same_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 255], size=rng.integers(1, 30, 2), p=[0.6, 0.2, 0.15, 0.05]).astype(np.uint8)
    assert (drawn(labels) == labels).all()
    large = np.kron(labels, np.ones((3, 2), np.uint8))
    assert (drawn(large) == large).all()


def test_what_a_person_sees() -> None:
    """Two polygons for a ring with its hole, none for the ground; corners of pixels, clockwise."""
    ring, hole = label_outlines(MAPS['hole'])
    assert (ring.value, ring.vertices.tolist()) == (1, [[1, 1], [4, 1], [4, 4], [1, 4]])
    assert (hole.value, hole.vertices.tolist()) == (0, [[2, 2], [3, 2], [3, 3], [2, 3]])
    assert label_outlines(MAPS['empty']) == []


def test_border_goes_through_a_corner_twice() -> None:
    """The region is open at the corner where two of its pixels touch, so that its border comes by there again."""
    labels = MAPS['hole open at a corner']
    (outline, *others) = label_outlines(labels)
    vertices = outline.vertices.tolist()
    assert len(vertices) > len({tuple(vertex) for vertex in vertices}) or len(others) > 0
    mask = np.array([[1, 1], [1, 0]], bool)
    assert trace_border(mask, (0, 0)).tolist() == [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]


def test_tolerance_gives_fewer_points_near_the_border() -> None:
    rows, columns = np.indices((80, 80))
    disc = ((rows - 40) ** 2 + (columns - 38) ** 2 < 900).astype(np.uint8)
    exact, near = label_outlines(disc)[0], label_outlines(disc, 1.0)[0]
    assert len(near.vertices) < len(exact.vertices) / 4
    wrong = drawn(disc, 1.0) != disc
    distance = np.abs(np.hypot(rows - 40, columns - 38) - 30)
    assert 0 < wrong.sum() < 120 and distance[wrong].max() < 2


def test_tolerance_leaves_no_region_without_area() -> None:
    labels = MAPS['one pixel']
    assert all(len(outline.vertices) > 2 for outline in label_outlines(labels, 50.0))
