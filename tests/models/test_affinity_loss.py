"""The affinity loss against a loop over every pair and every point of its path, and what must be true of it."""

import math

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from sipe_mmseg.models.affinity_loss import affinity_loss, mean_over_processes

EPS = 1e-5
UNKNOWN = 255


def on_path(dy: int, dx: int) -> list[tuple[int, int]]:
    """Points of the bounding box of (0, 0) and (dy, dx) whose squared distance to the line is below 1."""
    points = []
    for y in range(min(dy, 0), max(dy, 0) + 1):
        for x in range(min(dx, 0), max(dx, 0) + 1):
            if (dy * x - dx * y) ** 2 / (dy * dy + dx * dx) < 1:
                points.append((y, x))
    return points


def by_loops(logits: Tensor, labels: Tensor, num_classes: int, radius: int) -> tuple[Tensor, Tensor]:
    """(loss_pos, loss_neg), pair by pair."""
    costs: dict[str, list[Tensor]] = {'bg': [], 'fg': [], 'neg': []}
    images, height, width = labels.shape
    for n in range(images):
        boundary = torch.sigmoid(logits[n, 0])
        for y in range(height - (radius - 1)):
            for x in range(radius - 1, width - (radius - 1)):
                for dy in range(radius):
                    for dx in range(-radius, radius + 1):
                        if not (dy > 0 or dx > 0) or dy * dy + dx * dx >= radius * radius:
                            continue
                        a, b = int(labels[n, y, x]), int(labels[n, y + dy, x + dx])
                        if a >= num_classes or b >= num_classes:
                            continue
                        affinity = 1 - max(boundary[y + i, x + j] for i, j in on_path(dy, dx))
                        if a != b:
                            costs['neg'].append(-torch.log(1 + EPS - affinity))
                        else:
                            costs['fg' if a else 'bg'].append(-torch.log(affinity + EPS))
    bg, fg, neg = (sum(each, logits.new_zeros(())) / (len(each) + EPS) for each in costs.values())
    return bg / 2 + fg / 2, neg


def draw(images: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boundary logits and labels of 4 classes in blobs, some of them unknown; double precision."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, 1, height, width, generator=generator, dtype=torch.float64)
    coarse = torch.randint(0, 5, (images, -(-height // 3), -(-width // 3)), generator=generator)
    labels = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width]
    return logits, torch.where(labels == 4, UNKNOWN, labels).to(torch.uint8)


@pytest.mark.parametrize(
    ('radius', 'height', 'width'), [(2, 4, 5), (3, 7, 9), (4, 9, 8), (5, 6, 10), (3, 3, 5), (2, 2, 3)]
)
def test_is_what_the_loops_give(radius: int, height: int, width: int) -> None:
    logits, labels = draw(2, height, width, seed=radius)
    found = affinity_loss(logits, labels, 4, radius)
    expected = by_loops(logits, labels, 4, radius)
    torch.testing.assert_close(tuple(found), expected, rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_the_loops() -> None:
    logits, labels = draw(1, 6, 8)
    found, expected = (logits.clone().requires_grad_() for _ in range(2))
    sum(affinity_loss(found, labels, 4, 3)).backward()
    sum(by_loops(expected, labels, 4, 3)).backward()
    assert expected.grad.abs().max() > 1e-3
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-12)


def test_gradcheck() -> None:
    logits, labels = draw(1, 5, 7)
    assert torch.autograd.gradcheck(lambda x: tuple(affinity_loss(x, labels, 4, 3)), (logits.requires_grad_(),))


def test_classes_from_num_classes_on_are_unknown() -> None:
    logits, labels = draw(1, 8, 9)
    other = torch.where(labels == UNKNOWN, 4, labels)
    assert affinity_loss(logits, other, 4, 3) == affinity_loss(logits, labels, 4, 3)
    assert affinity_loss(logits, other, 5, 3) != affinity_loss(logits, labels, 4, 3)


def test_without_known_pairs_it_is_zero_and_has_no_nan() -> None:
    logits, labels = draw(1, 6, 7)
    logits.requires_grad_()
    terms = affinity_loss(logits, torch.full_like(labels, UNKNOWN), 4, 3)
    sum(terms).backward()
    assert [float(term.detach()) for term in terms] == [0, 0]
    assert not logits.grad.any()


@pytest.mark.parametrize('logit', [-40.0, 0.0, 40.0])
def test_even_boundaries(logit: float) -> None:
    """Known by hand: sure boundaries cost -log(1e-5) a pair that should not be parted, and nothing else; and so on."""
    labels = torch.zeros(1, 6, 7, dtype=torch.uint8)
    labels[:, :, 4:] = 1
    terms = affinity_loss(torch.full((1, 1, 6, 7), logit, dtype=torch.float64), labels, 2, 3)
    boundary = 1 / (1 + math.exp(-logit))
    assert float(terms.positive) == pytest.approx(-math.log(1 - boundary + EPS), rel=1e-4, abs=1e-4)
    assert float(terms.negative) == pytest.approx(-math.log(boundary + EPS), rel=1e-4, abs=1e-4)


def test_is_lowest_where_the_boundary_is_where_the_classes_meet() -> None:
    labels = torch.zeros(1, 12, 21, dtype=torch.uint8)
    labels[:, :, 10:] = 1

    def cost(column: int) -> float:
        logits = torch.full((1, 1, 12, 21), -6.0)
        logits[..., column] = 6
        return float(sum(affinity_loss(logits, labels, 2, 5)))

    assert min(range(5, 16), key=cost) in (9, 10)  # the last column of one class, the first of the other


def test_large_logits_stay_finite_in_float32() -> None:
    _, labels = draw(2, 8, 9)
    for logit in (-1e4, 1e4):
        logits = torch.full((2, 1, 8, 9), logit, requires_grad=True)
        sum(affinity_loss(logits, labels, 4, 3)).backward()
        assert torch.isfinite(logits.grad).all()


def test_published_settings_are_the_default_and_weights_are_factors() -> None:
    logits, labels = draw(1, 14, 22)
    terms = affinity_loss(logits, labels, 4)
    assert terms == affinity_loss(logits, labels, 4, radius=10, eps=1e-5)
    found = MODELS.build(dict(type='AffinityLoss'))(logits, labels, 4)
    assert found == dict(loss_pos=terms.positive / 2, loss_neg=terms.negative / 2)
    weighted = MODELS.build(dict(type='AffinityLoss', radius=10, loss_weight=3.0))(logits, labels, 4)
    assert float(weighted['loss_neg']) == pytest.approx(3 * float(terms.negative))


def test_values_along_the_paths_are_not_kept_for_the_backward() -> None:
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    logits, labels = draw(2, 40, 40)
    logits = logits.float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        terms = affinity_loss(logits, labels, 4, 10)
    pairs = 152 * 2 * 31 * 22
    assert sum(saved.values()) < 30 * pairs  # with the paths' values it would be 60 and more
    assert torch.isfinite(terms.positive)


@pytest.mark.parametrize('size', [(9, 19), (10, 18)])
def test_a_map_too_small_for_the_radius(size: tuple[int, int]) -> None:
    logits, labels = draw(1, *size)
    with pytest.raises(ValueError, match=f'maps of {size[0]} x {size[1]} have no pixel .* 10 x 19 is the smallest'):
        affinity_loss(logits, labels, 4, 10)


def test_maps_and_labels_on_different_grids() -> None:
    logits, labels = draw(1, 12, 20)
    with pytest.raises(ValueError, match='must be on the same grid'):
        affinity_loss(logits, labels[:, :, 1:], 4, 3)


def test_a_radius_without_neighbours() -> None:
    with pytest.raises(ValueError, match='radius must be at least 2'):
        MODELS.build(dict(type='AffinityLoss', radius=1))


def test_counts_are_the_mean_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_another_that_has_none(counts: Tensor, op: str) -> None:
        counts.div_(dict(sum=1, mean=2)[op])

    monkeypatch.setattr('sipe_mmseg.models.affinity_loss.all_reduce', with_another_that_has_none)
    counts = torch.tensor([4.0, 6.0])
    assert mean_over_processes(counts).tolist() == [2, 3]
    assert counts.tolist() == [4, 6]


def test_the_number_of_classes_is_no_class() -> None:
    logits, labels = draw(2, 7, 9)
    assert (labels == UNKNOWN).any()
    assert affinity_loss(logits, labels, 4, 3) == affinity_loss(logits, torch.where(labels == UNKNOWN, 4, labels), 4, 3)
