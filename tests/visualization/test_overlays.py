"""Pictures of maps, against values worked out by hand and slow second implementations."""

import numpy as np
import pytest

from sipe_mmseg.visualization.overlays import HEAT_COLOURS, blend_heat, blend_labels, colour_heat, colour_labels, panel

PALETTE = [(0, 0, 0), (200, 10, 20), (30, 40, 250)]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_heat_has_its_colours_at_equal_distances() -> None:
    heat = np.linspace(0, 1, len(HEAT_COLOURS))[None]
    np.testing.assert_array_equal(colour_heat(heat)[0], HEAT_COLOURS)


def test_heat_between_two_colours_is_their_mean() -> None:
    step = 1 / (len(HEAT_COLOURS) - 1)
    expected = (np.array(HEAT_COLOURS[2]) + HEAT_COLOURS[3]) / 2
    assert np.abs(colour_heat(np.array([[2.5 * step]]))[0, 0] - expected).max() <= 0.5


@pytest.mark.parametrize('heat', [np.array([[1.2]]), np.array([[-0.1]]), np.array([[np.nan]])])
def test_heat_outside_0_to_1_is_refused(heat: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'a heat map has values in \[0, 1\], not'):
        colour_heat(heat)


def test_heat_with_a_channel_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r'two dimensions, not the shape \(1, 2, 2\)'):
        colour_heat(np.zeros((1, 2, 2)))


def test_blending_weighs_image_and_heat(image: np.ndarray) -> None:
    heat = np.random.default_rng(1).random((6, 9))
    colours = colour_heat(heat)
    blended = blend_heat(image, heat, opacity=0.25)
    for row in range(6):
        for column in range(9):
            for channel in range(3):
                exact = 0.75 * int(image[row, column, channel]) + 0.25 * int(colours[row, column, channel])
                assert abs(blended[row, column, channel] - exact) <= 0.5 + 1e-9


def test_opacity_0_shows_the_image_and_1_the_heat(image: np.ndarray) -> None:
    heat = np.random.default_rng(1).random((6, 9))
    np.testing.assert_array_equal(blend_heat(image, heat, 0.0), image)
    np.testing.assert_array_equal(blend_heat(image, heat, 1.0), colour_heat(heat))


def test_blending_leaves_its_arguments_alone(image: np.ndarray) -> None:
    heat = np.full((6, 9), 0.5)
    before = image.copy(), heat.copy()
    blend_heat(image, heat)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(heat, before[1])


def test_heat_of_another_size_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'the image is \(6, 9\) pixels \(height, width\), the map \(9, 6\)'):
        blend_heat(image, np.zeros((9, 6)))


def test_opacity_outside_0_to_1_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'opacity must be in \[0, 1\], not 60'):
        blend_heat(image, np.zeros((6, 9)), opacity=60)


@pytest.mark.parametrize('wrong', [np.zeros((6, 9), np.uint8), np.zeros((6, 9, 4), np.uint8), np.zeros((6, 9, 3))])
def test_other_than_rgb_bytes_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'an image must be RGB, uint8, \(H, W, 3\), not'):
        blend_heat(wrong, np.zeros((6, 9)))


def test_labels_take_the_palettes_colours_and_void_is_white() -> None:
    coloured = colour_labels(np.array([[0, 1], [2, 255]]), PALETTE)
    assert coloured.tolist() == [[[0, 0, 0], [200, 10, 20]], [[30, 40, 250], [255, 255, 255]]]


def test_permuting_classes_and_palette_changes_nothing() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (5, 7))
    order = np.array([2, 0, 1])
    permuted = [PALETTE[index] for index in np.argsort(order)]
    np.testing.assert_array_equal(colour_labels(order[labels], permuted), colour_labels(labels, PALETTE))


@pytest.mark.parametrize('value', [-1, 256])
def test_labels_beyond_a_byte_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match='a label map has indices 0 to 255, not'):
        colour_labels(np.array([[value]]), PALETTE)


def test_labels_with_a_channel_axis_are_refused() -> None:
    with pytest.raises(ValueError, match=r'a label map has two dimensions, not the shape \(1, 4, 5\)'):
        colour_labels(np.zeros((1, 4, 5), np.uint8), PALETTE)


def test_background_stays_under_blended_labels(image: np.ndarray) -> None:
    labels = np.zeros((6, 9), int)
    labels[2:4, 3:5] = 1
    blended = blend_labels(image, labels, PALETTE, opacity=1.0)
    np.testing.assert_array_equal(blended[labels == 0], image[labels == 0])
    assert (blended[labels == 1] == PALETTE[1]).all()


def test_panel_without_words_is_the_images_side_by_side() -> None:
    red, blue = np.full((10, 20, 3), (255, 0, 0), np.uint8), np.full((10, 20, 3), (0, 0, 255), np.uint8)
    result = panel([[red, blue]], tile_size=20, gap=4)
    expected = np.full((18, 52, 3), 255, np.uint8)
    expected[4:14, 4:24] = red
    expected[4:14, 28:48] = blue
    np.testing.assert_array_equal(result, expected)


def test_panel_puts_rows_under_each_other_and_images_in_the_middle() -> None:
    wide, high = np.zeros((10, 20, 3), np.uint8), np.zeros((20, 10, 3), np.uint8)
    result = panel([[wide], [high]], tile_size=20, gap=4)
    expected = np.full((4 + 10 + 4 + 20 + 4, 28, 3), 255, np.uint8)
    expected[4:14, 4:24] = 0
    expected[18:38, 9:19] = 0
    np.testing.assert_array_equal(result, expected)


def test_panel_scales_images_to_the_size_of_a_tile() -> None:
    small = np.zeros((5, 10, 3), np.uint8)
    result = panel([[small]], tile_size=40, gap=0)
    np.testing.assert_array_equal(result, np.zeros((20, 40, 3), np.uint8))


def test_captions_stand_above_their_columns(image: np.ndarray) -> None:
    bare = panel([[image, image]], tile_size=100)
    left = panel([[image, image]], ['CAM', ''], tile_size=100)
    added = left.shape[0] - bare.shape[0]
    np.testing.assert_array_equal(left[added:], bare)
    ink = np.nonzero((left[:added] < 128).any(axis=(0, 2)))[0]
    assert 8 < ink.min() <= ink.max() < 108


def test_legend_shows_every_class_and_breaks_into_lines(image: np.ndarray) -> None:
    legend = [(f'class {index}', (10 * index, 200, 255 - 10 * index)) for index in range(12)]
    bare = panel([[image]], tile_size=220)
    with_legend = panel([[image]], legend=legend, tile_size=220)
    assert with_legend.shape[1] == bare.shape[1]
    added = with_legend[bare.shape[0] :]
    for _, colour in legend:
        assert (added == colour).all(axis=2).sum() > 50
    assert (added[:, -8:] == 255).all()


def test_panel_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match='a panel needs at least one image'):
        panel([])


def test_rows_of_different_lengths_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'the same number of images, not \[1, 2\]'):
        panel([[image, image], [image]])


def test_captions_that_are_not_as_many_as_columns_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"1 captions for 2 columns: \['CAM'\]"):
        panel([[image, image]], ['CAM'])
