"""The built-in data set: generated pictures of beetles with exact masks, laid out as PASCAL VOC or as a plain folder.

A beetle is a small head on a large body. The head, with its pattern and the colour of its marks, tells the class for
certain. The body only hints at it: every class has a favourite hue, but each beetle's own hue is drawn from so wide a
spread around it that neighbouring classes overlap, and all bodies have one shape and one texture. A classifier
therefore looks at the heads, and a plain CAM leaves most of the bodies out, just as on photographs. What head and body
do share is the hue of the one animal, and that is what similarity within one image can find.

Everything follows from ``(seed, index)``: the same two numbers give the same picture, in any order and any process.
NumPy and Pillow only; nothing here knows of MMEngine.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
from PIL import Image

from .atomic_write import atomic_write
from .json_files import is_deep, load_json
from .label_files import write_label_png
from .result_folder import changed_settings

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]

CLASSES = ('background', 'stripes', 'rings', 'dots', 'checks', 'star')
PALETTE: tuple[Colour, ...] = (
    (0, 0, 0),
    (228, 87, 86),
    (76, 141, 211),
    (242, 183, 65),
    (84, 162, 75),
    (157, 117, 188),
)
MARK_COLOURS: tuple[Colour, ...] = ((250, 245, 235), (255, 210, 40), (245, 70, 60), (60, 200, 250), (130, 230, 70))
"""Colour of the marks on the head, for each class without background."""

FAVOURITE_HUES = (0.85, 0.65, 0.3, 0.05, 0.48)
"""Middle of the hues of each class's beetles, on the circle [0, 1)."""

HUE_SPREAD = 0.07
"""Standard deviation of the hues around their middle; favourite hues of neighbours are 0.17 to 0.25 apart."""

_GROUNDS: tuple[tuple[tuple[Colour, ...], float], ...] = (  # from dark to light, and how far it is drawn out sideways
    (((62, 74, 52), (120, 128, 88), (168, 168, 124)), 1.0),  # meadow
    (((140, 122, 96), (186, 168, 138), (214, 202, 178)), 1.0),  # sand
    (((84, 68, 56), (132, 108, 88), (164, 142, 118)), 7.0),  # wood
    (((88, 90, 92), (140, 140, 138), (188, 186, 180)), 1.0),  # stone
    (((58, 78, 88), (104, 124, 130), (160, 172, 172)), 4.0),  # water
)

_OVERSAMPLING = 3  # pictures are drawn this many times larger along each side and averaged down: smooth edges
_HEAD_POSITION = 1.08  # centre of the head on the axis of the body, whose end is at 1
_MIN_SIZE = 64
_JPEG_QUALITY = 95
_MANIFEST = 'shapes.json'
_FIRST_VAL_INDEX = 1_000_000  # so that the val pictures do not depend on how many there are to train


# Pictures -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beetle:
    """One animal as drawn.

    Attributes:
        class_index: Index into the picture's classes, from 1.
        box: ``(left, top, right, bottom)`` of its visible pixels, right and bottom exclusive.
    """

    class_index: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """A picture and all that is known about it.

    Attributes:
        image: RGB, uint8, (H, W, 3).
        label_map: Class index of every pixel, uint8, (H, W); 0 is the background.
        head_map: True on the heads, the parts that tell the class, (H, W).
        beetles: The animals, from the hindmost to the foremost.
    """

    image: ByteArray
    label_map: ByteArray
    head_map: BoolArray
    beetles: tuple[Beetle, ...]


def draw_picture(seed: int, index: int, size: int = 160, classes: Sequence[str] = CLASSES[1:]) -> Picture:
    """Draw picture ``index`` of the set that belongs to ``seed``.

    One to three beetles of one to three classes sit on one of five textured grounds. A beetle may hide a little of
    another one's body, but no head.

    Args:
        seed: Seed of the whole set.
        index: Number of the picture in the set.
        size: Longer side in pixels; the other one is 0.75 to 1 times that.
        classes: Which of the classes there are; those of the picture are indices into these, from 1.

    Raises:
        ValueError: If ``size`` is below 64: the heads' patterns could not be told apart; or a class is none of
            ``CLASSES``, or there twice.
    """
    if size < _MIN_SIZE:
        raise ValueError(f'size={size}: below {_MIN_SIZE} pixels the patterns on the heads cannot be told apart')
    if not classes or len(set(classes)) < len(classes) or not set(classes) <= set(CLASSES[1:]):
        raise ValueError(f'classes={list(classes)}: must be one or more different ones of {", ".join(CLASSES[1:])}')
    rng = np.random.default_rng((seed, index))
    short = round(size * rng.uniform(0.75, 1.0))
    height, width = (short, size) if rng.random() < 0.6 else (size, short)
    canvas = _enlarged(_ground(rng, height, width, size))
    owner = np.zeros(canvas.shape[:2], np.uint8)  # 1 + number of the beetle, 0 for the ground
    heads = np.zeros(canvas.shape[:2], bool)

    found: list[int] = []
    count = int(rng.choice((1, 2, 3), p=(0.3, 0.45, 0.25)))
    half_length = (0.25, 0.21, 0.18)[count - 1] * size
    for _ in range(count):
        class_index = int(rng.integers(1, len(classes) + 1))
        pose = _free_pose(rng, owner > 0, heads, half_length)
        if pose is None:
            continue
        body, head = _paint_beetle(rng, canvas, pose, CLASSES.index(classes[class_index - 1]))
        found.append(class_index)
        owner[body | head] = len(found)
        heads |= head

    grain = rng.normal(0.0, 0.012, (height, width, 1))
    image = np.clip(np.rint((_block_mean(canvas) + grain) * 255), 0, 255).astype(np.uint8)
    visible = _block_majority(owner)
    beetles = tuple(Beetle(c, _box(visible == number)) for number, c in enumerate(found, start=1))
    label_map = np.array([0, *found], np.uint8)[visible]
    return Picture(image, label_map, _block_mean(heads.astype(float)) > 0.5, beetles)


@dataclass(frozen=True)
class _Pose:
    """Where a beetle sits and how it is built; lengths other than ``unit`` are in units of ``unit``."""

    centre: FloatArray  # of the body, (row, column) in pixels of the picture
    direction: FloatArray  # from tail to head, (row, column)
    unit: float  # half the body's length in pixels of the picture
    breadth: float
    head_radius: float

    def on_grid(self, rows: int, columns: int, scale: int = 1) -> tuple[FloatArray, FloatArray, BoolArray, BoolArray]:
        """Coordinates along and across the beetle, body and head of it, on a grid ``scale`` times as fine as pixels."""
        down = (np.arange(rows)[:, None] + 0.5) / scale - self.centre[0]
        right = (np.arange(columns)[None, :] + 0.5) / scale - self.centre[1]
        along = (down * self.direction[0] + right * self.direction[1]) / self.unit
        across = (right * self.direction[0] - down * self.direction[1]) / self.unit
        half_width = self.breadth * (1.0 - 0.18 * np.clip(along, -1.0, 1.0))  # an egg, blunt behind
        body = along**2 + (across / half_width) ** 2 < 1.0
        head = (along - _HEAD_POSITION) ** 2 + across**2 < self.head_radius**2
        return along, across, body, head


def _free_pose(
    rng: np.random.Generator, taken: BoolArray, heads: BoolArray, half_length: float, tries: int = 60
) -> _Pose | None:
    """Find a place where a beetle fits in, hides no head and little of other bodies; None if there seems to be none."""
    step = _OVERSAMPLING
    taken, heads = taken[step // 2 :: step, step // 2 :: step], heads[step // 2 :: step, step // 2 :: step]
    shape = np.array(taken.shape)
    for attempt in range(tries):
        unit = half_length * rng.uniform(0.8, 1.2) * (1.0 - 0.4 * attempt / tries)
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.sin(angle), np.cos(angle)])
        centre = rng.uniform(unit, shape - unit)
        pose = _Pose(centre, direction, unit, rng.uniform(0.62, 0.8), rng.uniform(0.38, 0.44))
        nose = centre + direction * unit * (_HEAD_POSITION + pose.head_radius / 2)
        if np.any(nose < 0.2 * unit) or np.any(nose > shape - 0.2 * unit):
            continue
        _, _, body, head = pose.on_grid(taken.shape[0], taken.shape[1])
        whole = body | head
        if not ((whole & heads).any() or (head & taken).any() or (whole & taken).sum() > 0.08 * whole.sum()):
            return pose
    return None


def _paint_beetle(
    rng: np.random.Generator, canvas: FloatArray, pose: _Pose, class_index: int
) -> tuple[BoolArray, BoolArray]:
    """Paint a beetle into the enlarged canvas; returns its body and its head."""
    rows, columns = canvas.shape[:2]
    along, across, body, head = pose.on_grid(rows, columns, _OVERSAMPLING)
    hue = FAVOURITE_HUES[class_index - 1] + rng.normal(0.0, HUE_SPREAD)
    light = _hsv_to_rgb(hue, rng.uniform(0.45, 0.65), rng.uniform(0.75, 0.9))
    dark = _hsv_to_rgb(hue + rng.uniform(-0.03, 0.03), rng.uniform(0.8, 0.95), rng.uniform(0.36, 0.46))

    # The shell, the same for all classes: it bulges, has a grain, and a seam along the back.
    u, v = along[body], across[body]
    bulge = 1.0 - 0.75 * (u**2 + (v / pose.breadth) ** 2)
    grain = _noise(rng, rows, columns, 0.16 * pose.unit * _OVERSAMPLING)[body]
    tone = np.clip(0.25 + 0.5 * bulge + 0.35 * (grain - 0.5), 0.0, 1.0) * np.where(np.abs(v) < 0.025, 0.55, 1.0)
    canvas[body] = dark + tone[:, None] * (light - dark)

    # The head: the marks of the class on the animal's own colour, and a rim.
    u, v = (along[head] - _HEAD_POSITION) / pose.head_radius, across[head] / pose.head_radius
    turn = rng.uniform(0, 2 * np.pi)
    marks = _marks(CLASSES[class_index], u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn))
    colours = np.where(marks[:, None], np.divide(MARK_COLOURS[class_index - 1], 255), 0.55 * light + 0.45 * dark)
    canvas[head] = np.where((np.hypot(u, v) > 0.9)[:, None], 0.7 * dark, colours)
    return body, head


def _marks(name: str, u: FloatArray, v: FloatArray) -> BoolArray:
    """Where the marks of a class are on the unit disc."""
    radius = np.hypot(u, v)
    marks: BoolArray
    if name == 'stripes':
        marks = np.cos(2 * np.pi * u / 0.56) > 0
    elif name == 'rings':
        marks = np.cos(2 * np.pi * radius / 0.56) > 0
    elif name == 'dots':
        marks = np.cos(2 * np.pi * u / 0.62) + np.cos(2 * np.pi * v / 0.62) > 0.75
    elif name == 'checks':
        marks = np.cos(2 * np.pi * u / 0.84) * np.cos(2 * np.pi * v / 0.84) > 0
    else:  # star
        marks = np.cos(5 * np.arctan2(v, u)) > 1.7 * radius - 0.75
    return marks


def _ground(rng: np.random.Generator, height: int, width: int, size: int) -> FloatArray:
    """A textured ground (height, width, 3) in [0, 1]: noise of four octaves through a ramp of muted colours."""
    colours, stretch = _GROUNDS[int(rng.integers(len(_GROUNDS)))]
    weights = (0.3, 0.25, 0.25, 0.2)
    octaves = [_noise(rng, height, width, size / (3 * 3**octave), stretch) for octave in range(len(weights))]
    field = np.average(octaves, axis=0, weights=weights)
    tone = np.clip(0.5 + 1.6 * (field - 0.5) + rng.uniform(-0.08, 0.08), 0.0, 1.0)
    ramp = np.divide(colours, 255)
    stops = np.linspace(0, 1, len(ramp))
    return np.stack([np.interp(tone, stops, channel) for channel in ramp.T], axis=-1)


def _noise(rng: np.random.Generator, height: int, width: int, period: float, stretch: float = 1.0) -> FloatArray:
    """Smooth noise (height, width) in [0, 1] whose features are ``period`` high and ``stretch`` times as wide."""
    period = max(period, 1.0)
    grid = rng.random((int(height / period) + 2, int(width / (period * stretch)) + 2))
    picture = Image.fromarray(np.rint(grid * 255).astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), float) / 255


def _hsv_to_rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """RGB in [0, 1] from hue (on a circle of length 1), saturation and value in [0, 1]."""
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    rgb: FloatArray = value * (1 - saturation + saturation * np.clip(ramp, 0, 1))
    return rgb


def _enlarged(image: FloatArray) -> FloatArray:
    return image.repeat(_OVERSAMPLING, axis=0).repeat(_OVERSAMPLING, axis=1)


def _block_mean(enlarged: FloatArray) -> FloatArray:
    """Mean over the ``_OVERSAMPLING ** 2`` points of every pixel."""
    step = _OVERSAMPLING
    total = sum(enlarged[row::step, column::step] for row in range(step) for column in range(step))
    return np.divide(total, step**2)


def _block_majority(enlarged: ByteArray) -> ByteArray:
    """The most frequent value among the points of every pixel; the smallest of those that are level."""
    shares = [_block_mean((enlarged == value).astype(np.float64)) for value in range(int(enlarged.max()) + 1)]
    most: ByteArray = np.argmax(shares, axis=0).astype(np.uint8)
    return most


def _box(mask: BoolArray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# Files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShapesSettings:
    """What a set on disk is made of.

    Attributes:
        num_train: Pictures of the split ``train``.
        num_val: Pictures of the split ``val``. They do not depend on ``num_train``.
        size: Longer side of the pictures in pixels.
        seed: Seed of the set.
        version: Raised whenever the generator draws other pictures from the same seed.
        classes: Which of the classes there are, in the order of their indices from 1 on.
        layout: ``'voc'``, or ``'folder'`` for what ``configs/_base_/datasets/custom.py`` expects of one's own pictures.
    """

    num_train: int = 640
    num_val: int = 100
    size: int = 160
    seed: int = 0
    version: int = 1
    classes: tuple[str, ...] = CLASSES[1:]
    layout: Literal['voc', 'folder'] = 'voc'

    def as_json(self) -> dict[str, Any]:
        """The settings as they come back from a JSON file."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return settings


def write_shapes(
    root: str | Path,
    settings: ShapesSettings = ShapesSettings(),
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> bool:
    """Write the set, unless it is there already. The folder appears complete or not at all.

    In the layout of PASCAL VOC 2012: ``JPEGImages/<id>.jpg``, ``SegmentationClass/<id>.png`` (palette PNGs of class
    indices, exact to the pixel and so without a void border), ``Annotations/<id>.xml``,
    ``ImageSets/Segmentation/{train,val}.txt``. As a plain folder: ``images/{train,val}/<id>.jpg``,
    ``labels/{train,val}.csv`` and, for ``val`` alone, ``masks/val/<id>.png``.

    Args:
        root: Folder to write.
        settings: What to write.
        on_picture: Called after each picture with the number of pictures written and that of all.

    Returns:
        Whether anything was written: False if the folder holds this very set.

    Raises:
        ValueError: If the folder holds something else, a number of pictures is below 1, or a class is none of
            ``CLASSES``.
    """
    root = Path(root)
    if settings.num_train < 1 or settings.num_val < 1:
        raise ValueError(f'num_train={settings.num_train}, num_val={settings.num_val}: both must be at least 1')
    splits = {
        'train': {f'train_{index:04d}': index for index in range(settings.num_train)},
        'val': {f'val_{index:04d}': _FIRST_VAL_INDEX + index for index in range(settings.num_val)},
    }
    total = settings.num_train + settings.num_val
    files = [path for split, names in splits.items() for name in names for path in _files(settings.layout, split, name)]
    if _is_complete(root, settings, files):
        return False
    with atomic_write(root) as temporary:
        done = 0
        for split, names in splits.items():
            classes: dict[str, list[str]] = {}
            for name, index in names.items():
                picture = draw_picture(settings.seed, index, settings.size, settings.classes)
                for path in _files(settings.layout, split, name):
                    _write_file(temporary / path, picture, settings.classes)
                present = sorted({beetle.class_index for beetle in picture.beetles})
                classes[name] = [settings.classes[class_index - 1] for class_index in present]
                done += 1
                on_picture(done, total)
            _write_list(temporary, settings.layout, split, classes)
        (temporary / _MANIFEST).write_text(json.dumps(settings.as_json(), indent=2) + '\n')
    return True


def _files(layout: str, split: str, name: str) -> list[str]:
    """The files of a picture below the root."""
    if layout == 'voc':
        return [f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png', f'Annotations/{name}.xml']
    return [f'images/{split}/{name}.jpg', *([f'masks/{split}/{name}.png'] if split == 'val' else [])]


def _write_list(root: Path, layout: str, split: str, classes: dict[str, list[str]]) -> None:
    """List of a split's pictures, in a plain folder with their classes."""
    if layout == 'voc':
        path, text = root / f'ImageSets/Segmentation/{split}.txt', ''.join(f'{name}\n' for name in classes)
    else:
        rows = ''.join(f'{name}.jpg,{";".join(names)}\n' for name, names in classes.items())
        path, text = root / f'labels/{split}.csv', f'image,labels\n{rows}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _is_complete(root: Path, settings: ShapesSettings, paths: Iterable[str]) -> bool:
    """Whether the folder holds the set; False if there is nothing.

    Raises:
        ValueError: If it holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = root / _MANIFEST
    if not manifest.is_file():
        raise ValueError(
            f'{root}: holds something that is not the built-in data set (no {_MANIFEST}); name another folder'
        )
    # A set of before there were classes and layouts to choose has the default ones.
    written = load_json(manifest)
    if not isinstance(written, dict) or is_deep(written):
        raise ValueError(f'{manifest}: not the settings of the built-in data set; delete the folder or name another')
    found = ShapesSettings().as_json() | written
    if found != settings.as_json():
        raise ValueError(
            f'{root}: holds the set that {_MANIFEST} in it tells of:\n'
            + changed_settings(found, settings.as_json())
            + '\nDelete the folder or name another one'
        )
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise ValueError(f'{root}: {len(missing)} files are missing, such as {missing[0]}; delete the folder')
    return True


def _write_file(path: Path, picture: Picture, classes: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.jpg':  # colours as sharp as brightness
        Image.fromarray(picture.image).save(path, quality=_JPEG_QUALITY, subsampling=0)
    elif path.suffix == '.png':
        colours = [PALETTE[CLASSES.index(name)] for name in classes]
        write_label_png(path, picture.label_map, [PALETTE[0], *colours])
    else:
        path.write_bytes(voc_annotation(f'{path.stem}.jpg', picture, classes))


def voc_annotation(file_name: str, picture: Picture, classes: Sequence[str] = CLASSES[1:]) -> bytes:
    """Annotation of a picture as in PASCAL VOC: an XML file with its size, its objects and their boxes.

    Boxes are VOC's: the first pixel is 1, and the last pixel is part of the box.
    """
    root = ET.Element('annotation')
    ET.SubElement(root, 'filename').text = file_name
    height, width = picture.label_map.shape
    size = ET.SubElement(root, 'size')
    for tag, value in (('width', width), ('height', height), ('depth', 3)):
        ET.SubElement(size, tag).text = str(value)
    ET.SubElement(root, 'segmented').text = '1'
    for beetle in picture.beetles:
        item = ET.SubElement(root, 'object')
        ET.SubElement(item, 'name').text = classes[beetle.class_index - 1]
        ET.SubElement(item, 'difficult').text = '0'
        box = ET.SubElement(item, 'bndbox')
        left, top, right, bottom = beetle.box
        for tag, value in (('xmin', left + 1), ('ymin', top + 1), ('xmax', right), ('ymax', bottom)):
            ET.SubElement(box, tag).text = str(value)
    ET.indent(root)
    return ET.tostring(root) + b'\n'
