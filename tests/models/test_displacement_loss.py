"""The displacement loss against a loop over every pair, and what must be true of it."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from sipe_mmseg.models.displacement_loss import displacement_loss

EPS = 1e-5
UNKNOWN = 255


def by_loops(displacement: Tensor, labels: Tensor, num_classes: int, radius: int) -> tuple[Tensor, Tensor]:
    """(foreground, background), pair by pair."""
    sums, counts = {'fg': displacement.new_zeros(()), 'bg': displacement.new_zeros(())}, {'fg': 0, 'bg': 0}
    images, height, width = labels.shape
    for n in range(images):
        for y in range(height - (radius - 1)):
            for x in range(radius - 1, width - (radius - 1)):
                for dy in range(radius):
                    for dx in range(-radius, radius + 1):
                        if not (dy > 0 or dx > 0) or dy * dy + dx * dx >= radius * radius:
                            continue
                        a, b = int(labels[n, y, x]), int(labels[n, y + dy, x + dx])
                        if a != b or a >= num_classes:
                            continue
                        kind, wanted = ('fg', (dy, dx)) if a else ('bg', (0, 0))
                        counts[kind] += 1
                        for component in range(2):
                            first, second = displacement[n, component, y, x], displacement[n, component, y + dy, x + dx]
                            sums[kind] = sums[kind] + (first - second - wanted[component]).abs()
    return sums['fg'] / (2 * counts['fg'] + EPS), sums['bg'] / (2 * counts['bg'] + EPS)


def draw(images: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Displacements and labels of 4 classes in blobs, some of them unknown; double precision."""
    generator = torch.Generator().manual_seed(seed)
    displacement = 3 * torch.randn(images, 2, height, width, generator=generator, dtype=torch.float64)
    coarse = torch.randint(0, 5, (images, -(-height // 3), -(-width // 3)), generator=generator)
    labels = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width]
    return displacement, torch.where(labels == 4, UNKNOWN, labels).to(torch.uint8)


@pytest.mark.parametrize(('radius', 'height', 'width'), [(2, 4, 5), (3, 7, 9), (4, 9, 8), (5, 6, 10), (2, 2, 3)])
def test_is_what_the_loops_give(radius: int, height: int, width: int) -> None:
    displacement, labels = draw(2, height, width, seed=radius)
    found = displacement_loss(displacement, labels, 4, radius)
    expected = by_loops(displacement, labels, 4, radius)
    torch.testing.assert_close(tuple(found), expected, rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_the_loops() -> None:
    displacement, labels = draw(1, 6, 8)
    found, expected = (displacement.clone().requires_grad_() for _ in range(2))
    sum(displacement_loss(found, labels, 4, 3)).backward()
    sum(by_loops(expected, labels, 4, 3)).backward()
    assert expected.grad.abs().max() > 1e-3
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-12)


def test_gradcheck() -> None:
    displacement, labels = draw(1, 5, 7)
    inputs = (displacement.requires_grad_(),)
    assert torch.autograd.gradcheck(lambda x: tuple(displacement_loss(x, labels, 4, 3)), inputs)


def test_foreground_that_points_at_one_centre_costs_nothing() -> None:
    """D(p) - D(p + d) = d for all pairs means D(p) = centre - p."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing='ij')
    centred = torch.stack([5.5 - rows, 8.25 - columns])[None]
    labels = torch.ones(1, 12, 20, dtype=torch.uint8)
    assert float(displacement_loss(centred, labels, 3).foreground) == pytest.approx(0, abs=1e-5)
    assert float(displacement_loss(-centred, labels, 3).foreground) > 1  # the order of (dy, dx) and the sign matter
    assert float(displacement_loss(centred.flip(1), labels, 3).foreground) > 1
    assert float(displacement_loss(centred, labels, 3).background) == 0


def test_even_background_costs_nothing_wherever_it_points() -> None:
    even = torch.tensor([7.0, -3.0])[None, :, None, None].expand(1, 2, 12, 20)
    terms = displacement_loss(even, torch.zeros(1, 12, 20, dtype=torch.uint8), 3)
    assert (float(terms.foreground), float(terms.background)) == (0, 0)


def test_a_shift_of_all_displacements_changes_nothing() -> None:
    displacement, labels = draw(2, 8, 9)
    shifted = displacement + torch.tensor([2.0, -5.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(displacement_loss(shifted, labels, 4, 3), displacement_loss(displacement, labels, 4, 3))


def test_unknown_pixels_and_pairs_of_two_classes_do_not_matter() -> None:
    displacement, labels = draw(1, 8, 9)
    changed = torch.where(labels[:, None] == UNKNOWN, 1e3, displacement)
    assert displacement_loss(changed, labels, 4, 3) == displacement_loss(displacement, labels, 4, 3)
    alone = torch.arange(8 * 9, dtype=torch.uint8).reshape(1, 8, 9)
    terms = displacement_loss(displacement, alone, 100, 3)
    assert (float(terms.foreground), float(terms.background)) == (0, 0)


def test_published_settings_are_the_default_and_weights_are_factors() -> None:
    displacement, labels = draw(1, 14, 22)
    terms = displacement_loss(displacement, labels, 4)
    assert terms == displacement_loss(displacement, labels, 4, radius=10, eps=1e-5)
    found = MODELS.build(dict(type='DisplacementLoss'))(displacement, labels, 4)
    assert found == dict(loss_disp_fg=terms.foreground / 2, loss_disp_bg=terms.background / 2)
    weighted = MODELS.build(dict(type='DisplacementLoss', loss_weight=3.0))(displacement, labels, 4)
    assert float(weighted['loss_disp_fg']) == pytest.approx(3 * float(terms.foreground))


def test_a_map_too_small_for_the_radius() -> None:
    displacement, labels = draw(1, 9, 30)
    with pytest.raises(ValueError, match=r'maps of 9 x 30 have no pixel .* Use larger crops or a smaller radius'):
        displacement_loss(displacement, labels, 4)


def test_maps_and_labels_on_different_grids() -> None:
    displacement, labels = draw(1, 12, 20)
    with pytest.raises(ValueError, match='must be on the same grid'):
        displacement_loss(displacement[:, :, 1:], labels, 4, 3)


def test_a_radius_without_neighbours() -> None:
    with pytest.raises(ValueError, match='radius must be at least 2'):
        MODELS.build(dict(type='DisplacementLoss', radius=1))
