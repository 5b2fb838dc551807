"""Small pictures as data URIs, so that a page needs no other file: arrays in, text out."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..visualization.overlays import ByteImage, Colour, LabelMap, colour_labels

_JPEG_QUALITY = 75


def thumbnail_size(size: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Size (width, height) of a picture of (height, width) whose longer side is at most ``longer_side``."""
    scale = min(1.0, longer_side / max(size))
    return max(1, round(size[1] * scale)), max(1, round(size[0] * scale))


def image_thumbnail(image: ByteImage, longer_side: int) -> ByteImage:
    """A smaller copy of an RGB image (H, W, 3)."""
    size = thumbnail_size((image.shape[0], image.shape[1]), longer_side)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def label_thumbnail(labels: LabelMap, longer_side: int) -> LabelMap:
    """A smaller copy of a label map (H, W): the value in the middle of what becomes a pixel."""
    width, height = thumbnail_size((labels.shape[0], labels.shape[1]), longer_side)
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    small: LabelMap = labels[np.ix_(rows, columns)]
    return small


def image_uri(image: ByteImage) -> str:
    """An RGB image (H, W, 3) as a JPEG in a data URI."""
    return _uri(Image.fromarray(image), 'jpeg', quality=_JPEG_QUALITY, optimize=True)


def labels_uri(labels: LabelMap, palette: Sequence[Colour]) -> str:
    """A label map (H, W) as a palette PNG in a data URI; values that are no class are white."""
    values, indices = np.unique(labels, return_inverse=True)
    picture = Image.fromarray(indices.reshape(labels.shape).astype(np.uint8), mode='P')
    picture.putpalette(colour_labels(values[None], palette).tobytes())
    return _uri(picture, 'png', optimize=True)


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'
