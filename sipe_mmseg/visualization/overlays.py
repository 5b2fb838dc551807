"""Pictures of localisation maps: arrays in, arrays out.

Conventions of this module: an image is RGB, uint8, (H, W, 3); a heat map is float in [0, 1], (H, W); a label map holds
class indices, integer, (H, W). Nothing is changed in place. NumPy and Pillow only; nothing here knows of MMEngine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

ByteImage = npt.NDArray[np.uint8]
FloatMap = npt.NDArray[np.floating]
LabelMap = npt.NDArray[np.integer]
Colour = Sequence[int]

HEAT_COLOURS = ((13, 8, 84), (28, 100, 196), (60, 190, 150), (200, 220, 60), (246, 140, 36), (160, 16, 18))
"""Colours of a heat map from 0 to 1 at equal distances: dark blue, blue, green, yellow, orange, dark red."""

_INK = (40, 40, 40)
_PAPER = (255, 255, 255)


def colour_heat(heat: FloatMap) -> ByteImage:
    """Colour a heat map: dark blue at 0, over green and yellow, to dark red at 1.

    Args:
        heat: Heat map (H, W) in [0, 1].

    Returns:
        RGB image (H, W, 3).

    Raises:
        ValueError: If the map is not two-dimensional or has values outside [0, 1].
    """
    heat = _checked_heat(heat)
    stops = np.linspace(0.0, 1.0, len(HEAT_COLOURS))
    channels = [np.interp(heat, stops, channel) for channel in np.transpose(HEAT_COLOURS)]
    colours: ByteImage = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def blend_heat(image: ByteImage, heat: FloatMap, opacity: float = 0.6) -> ByteImage:
    """Lay a coloured heat map over an image.

    Args:
        image: RGB image (H, W, 3).
        heat: Heat map (H, W) in [0, 1].
        opacity: Share of the heat map in the result: 0 shows the image alone, 1 the heat map alone.

    Returns:
        RGB image (H, W, 3).

    Raises:
        ValueError: If image and map have different sizes or not the type or range they must have.
    """
    heat = _checked_heat(heat)
    return _blend(image, colour_heat(heat), opacity)


def colour_labels(label_map: LabelMap, palette: Sequence[Colour], void_colour: Colour = (255, 255, 255)) -> ByteImage:
    """Colour a label map.

    Args:
        label_map: Class indices (H, W), 0 to 255.
        palette: RGB colour of each class.
        void_colour: RGB colour of the indices beyond the palette, such as the 255 of void pixels.

    Returns:
        RGB image (H, W, 3).

    Raises:
        ValueError: If the label map is not two-dimensional or has an index outside 0..255.
    """
    label_map = np.asarray(label_map)
    if label_map.ndim != 2:
        raise ValueError(f'a label map has two dimensions, not the shape {label_map.shape}')
    if label_map.size and not 0 <= label_map.min() <= label_map.max() <= 255:
        raise ValueError(f'a label map has indices 0 to 255, not {label_map.min()} to {label_map.max()}')
    colours = np.full((256, 3), void_colour, np.uint8)
    colours[: len(palette)] = palette
    return colours[label_map]


def blend_labels(image: ByteImage, label_map: LabelMap, palette: Sequence[Colour], opacity: float = 0.75) -> ByteImage:
    """Lay a coloured label map over an image; the background (index 0) stays as it is.

    Args:
        image: RGB image (H, W, 3).
        label_map: Class indices (H, W).
        palette: RGB colour of each class.
        opacity: Share of the colours in the result.

    Returns:
        RGB image (H, W, 3).

    Raises:
        ValueError: If image and label map have different sizes or not the type or range they must have.
    """
    blended = _blend(image, colour_labels(label_map, palette), opacity)
    return np.where(np.asarray(label_map)[:, :, None] == 0, image, blended)


def panel(
    rows: Sequence[Sequence[ByteImage]],
    captions: Sequence[str] = (),
    legend: Sequence[tuple[str, Colour]] = (),
    tile_size: int = 192,
    gap: int = 8,
    font_size: int = 15,
) -> ByteImage:
    """Put images side by side: one row or several, captions above the columns, a legend of classes below.

    Every image is scaled, aspect ratio kept, so that its longer side is ``tile_size``; it stands in the middle of its
    tile. Empty margins that all images of a row or of a column share are left out.

    Args:
        rows: Rows of RGB images, all of the same number.
        captions: A caption for each column, or none.
        legend: Name and RGB colour of each class, or none. It is broken into lines as needed.
        tile_size: Longer side of an image in the panel, in pixels.
        gap: Space between and around the images, in pixels.
        font_size: Height of the letters in pixels.

    Returns:
        RGB image.

    Raises:
        ValueError: If there is no image, rows differ in length, or the captions are not as many as the columns.
    """
    if not rows or not rows[0]:
        raise ValueError('a panel needs at least one image')
    columns = len(rows[0])
    lengths = sorted({len(row) for row in rows})
    if lengths != [columns]:
        raise ValueError(f'all rows of a panel must have the same number of images, not {lengths}')
    if captions and len(captions) != columns:
        raise ValueError(f'{len(captions)} captions for {columns} columns: {list(captions)}')

    tiles = [[_scaled(image, tile_size) for image in row] for row in rows]
    widths = [max(row[column].width for row in tiles) for column in range(columns)]
    heights = [max(tile.height for tile in row) for row in tiles]
    width = sum(widths) + gap * (columns + 1)
    font = ImageFont.load_default(font_size)
    line_height = round(font_size * 1.5)
    legend_lines = _legend_lines(legend, font, width - 2 * gap, line_height)
    top = gap + (line_height if captions else 0)
    below = top + sum(heights) + gap * len(rows)
    sheet = Image.new('RGB', (width, below + line_height * len(legend_lines) + (gap if legend else 0)), _PAPER)
    draw = ImageDraw.Draw(sheet)

    lefts = [gap + sum(widths[:column]) + gap * column for column in range(columns)]
    for caption, left, column_width in zip(captions, lefts, widths, strict=False):
        draw.text((left + column_width / 2, gap / 2 + line_height / 2), caption, _INK, font, anchor='mm')
    for row, height in zip(tiles, heights, strict=True):
        for tile, left, column_width in zip(row, lefts, widths, strict=True):
            sheet.paste(tile, (left + (column_width - tile.width) // 2, top + (height - tile.height) // 2))
        top += height + gap
    for line in legend_lines:
        left = gap
        for name, colour, entry_width in line:
            draw.rectangle((left, below + 4, left + line_height - 8, below + line_height - 5), tuple(colour), _INK)
            draw.text((left + line_height, below + line_height / 2), name, _INK, font, anchor='lm')
            left += entry_width
        below += line_height
    return np.asarray(sheet)


def _legend_lines(
    legend: Sequence[tuple[str, Colour]], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, swatch: int
) -> list[list[tuple[str, Colour, int]]]:
    """Break the legend into lines that fit; each entry with the width it takes."""
    lines: list[list[tuple[str, Colour, int]]] = []
    room = 0
    for name, colour in legend:
        needed = round(font.getlength(name)) + 2 * swatch
        if not lines or needed > room:
            lines.append([])
            room = width
        lines[-1].append((name, colour, needed))
        room -= needed
    return lines


def _scaled(image: ByteImage, longer_side: int) -> Image.Image:
    picture = Image.fromarray(_checked_image(image))
    scale = longer_side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def _blend(image: ByteImage, colours: ByteImage, opacity: float) -> ByteImage:
    image = _checked_image(image)
    if image.shape != colours.shape:
        raise ValueError(f'the image is {image.shape[:2]} pixels (height, width), the map {colours.shape[:2]}')
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be in [0, 1], not {opacity}')
    return np.rint(image * (1.0 - opacity) + colours * opacity).astype(np.uint8)


def _checked_image(image: ByteImage) -> ByteImage:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'an image must be RGB, uint8, (H, W, 3), not {image.dtype} {image.shape}')
    return image


def _checked_heat(heat: FloatMap) -> FloatMap:
    heat = np.asarray(heat)
    if heat.ndim != 2:
        raise ValueError(f'a heat map has two dimensions, not the shape {heat.shape}')
    if heat.size and not (heat.min() >= 0 and heat.max() <= 1):  # catches NaN as well
        raise ValueError(f'a heat map has values in [0, 1], not {heat.min()} to {heat.max()}')
    return heat
