"""Every parser, whatever a file holds, gives a right result or says in an exception what is wrong with which file.

In bounded time and memory, too. Inputs are valid files with a few edits, of bytes, of words and of values, made from a
sequence of choices: drawn by Hypothesis, which makes a failing one small, or by a seeded generator, which is fast.

    pytest tests/reliability/test_fuzz.py --fuzz-inputs 100000    so many of the fast ones for each parser
"""

import base64
import io
import json
import random
import re
import resource
import signal
import struct
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sipe_mmseg.compat import load_local_checkpoint
from sipe_mmseg.datasets.cam_files import read_cam, write_cam
from sipe_mmseg.datasets.coco_masks import load_annotated_images, render_label_map
from sipe_mmseg.datasets.image_files import ImageFolder, Problems, image_size, read_list, sample_problem
from sipe_mmseg.datasets.image_labels import (
    read_coco_instances,
    read_csv,
    read_json,
    read_masks,
    read_voc_xml,
)
from sipe_mmseg.datasets.label_files import read_label_png, write_label_png
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.picture_folder import look_over_labels
from sipe_mmseg.datasets.result_folder import ResultFolder
from sipe_mmseg.datasets.run_lengths import compress, decompress, from_run_lengths, run_lengths
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint
from sipe_mmseg.engine.pipeline import Pipeline, Stage
from sipe_mmseg.interchange.coco import COCOAnnotations, read_coco
from sipe_mmseg.interchange.cvat import cvat_xml, read_cvat
from sipe_mmseg.interchange.drawing import Drawing, draw_label_map
from sipe_mmseg.interchange.labelme import labelme_content, read_labelme
from sipe_mmseg.report import LabelReport, collect_run_report, render_label_report
from sipe_mmseg.report.document import render_page
from sipe_mmseg.report.run_page import run_sections
from sipe_mmseg_cli.convert_coco14 import keep_settings

CLASSES = ('background', 'cat', 'dog', 'potted plant')
SIZE = (6, 8)  # (height, width) of the images that the files are about
LABELS = np.array([[0, 1, 1, 0, 3, 3, 255, 0], [0, 1, 2, 0, 0, 3, 3, 0]] * 3, np.uint8)
SECONDS = 5.0  # of the processor for one input; all files are small
WAITING = 60.0  # seconds of the clock, which run while other work has the processor, too
BYTES = 1 << 30  # that one input may allocate
MESSAGE = 2000  # characters of an error

Pick = Callable[[int], int]
"""Chooses a number from 0 on, below the given one."""


@dataclass(frozen=True)
class Parser:
    """What reads a kind of file.

    Attributes:
        file: Path of the file in a folder of its own.
        read: Reads the file, looks at all that is in it, and asserts what must be true of a result.
        valid: Valid contents. The folder is there to write other files that the parser looks at.
        words: What stands in such files, and what might trip their parser.
        edit: Edits the structure of a content, such as a member of an archive, beside the bytes.
        errors: Exceptions that are its answer to a bad file.
    """

    file: str
    read: Callable[[Path], Any]
    valid: Callable[[Path], list[bytes]]
    words: Sequence[bytes] = ()
    edit: Callable[[bytes, Pick, Sequence[bytes]], bytes] | None = None
    errors: tuple[type[Exception], ...] = (ValueError, OSError)


# Edits ----------------------------------------------------------------------------------------------------------------


def edited(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    """A content with one to four edits of its bytes or words."""
    for _ in range(1 + pick(4)):
        content = _edit_bytes(content, pick, words)
    return content


def _edit_bytes(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    start = pick(len(content) + 1)
    end = min(len(content), start + (pick(4) if pick(2) else pick(64)))
    kind = pick(8)
    if kind == 0:  # a bit
        changed = bytearray(content or b'\0')
        changed[start % len(changed)] ^= 1 << pick(8)
        return bytes(changed)
    if kind == 1:  # other bytes
        return content[:start] + bytes(pick(256) for _ in range(1 + pick(4))) + content[end:]
    if kind == 2:  # gone
        return content[:start] + content[end:]
    if kind == 3:  # cut short
        return content[:start]
    if kind == 4:  # repeated
        return content[:end] + content[start:end] * (1 + pick(3)) + content[end:]
    if kind == 5 and words:
        return content[:start] + words[pick(len(words))] + content[end:]
    if kind == 6 and words:  # a word in the place of another
        places = [match.span() for match in re.finditer(rb'"[^"]*"|[\w.+-]+', content)]
        if places:
            start, end = places[pick(len(places))]
            return content[:start] + words[pick(len(words))] + content[end:]
    other = pick(len(content) + 1)  # exchanged with another part
    first, second = sorted((start, other))
    return (
        content[second:] + content[first:second] + content[:first]
        if pick(4) == 0
        else content[:first] + content[second:]
    )


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 255, 256, 10**6, 2**31, 2**63, 2**64, 10**400, 0.5, -0.5, 1e300, 1e-300),
    *(
        float('nan'),
        float('inf'),
        -float('inf'),
        '',
        'cat',
        'background',
        'a',
        '../a',
        '/a',
        'a\0',
        '\ud800',
        'x' * 10**5,
    ),
    *([], {}, [[]], [None], {'a': 1}, [1, 2], [1, 2, 3, 4], ['cat'], [[1, 2], [3, 4], [5, 6]], [6, 8], [0] * 1000),
)


def edit_json(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    """A JSON document in which one to three values are others, gone, or there twice."""
    try:
        document = json.loads(content)
    except ValueError:
        return content
    for _ in range(1 + pick(3)):
        document = _edit_value(document, pick)
    return json.dumps(document).encode()


def _edit_value(value: Any, pick: Pick) -> Any:
    if not isinstance(value, dict | list) or not value or pick(6) == 0:
        return _VALUES[pick(len(_VALUES))]
    copy: Any = value.copy()
    key = list(copy)[pick(len(copy))] if isinstance(copy, dict) else pick(len(copy))
    kind = pick(8)
    if kind == 0:
        del copy[key]
    elif kind == 1 and isinstance(copy, list):
        copy.insert(pick(len(copy) + 1), copy[key])
    elif kind == 2 and isinstance(copy, dict):
        other = list(copy)[pick(len(copy))]
        copy[key] = copy[other]
    else:
        copy[key] = _edit_value(copy[key], pick)
    return copy


def edit_lines(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    """JSON documents, one a line, one of them edited."""
    lines = content.split(b'\n')
    place = pick(len(lines))
    return b'\n'.join([*lines[:place], edit_json(lines[place], pick, words), *lines[place + 1 :]])


def edit_zip(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    """A zip archive in which a member is edited, gone or renamed; its checksums are right."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = pick(len(members))
    name, inner = members[place]
    kind = pick(12)
    if kind == 0:
        del members[place]
    elif kind == 1:
        members[place] = (members[pick(len(members))][0], inner)
    else:
        members[place] = (name, edited(inner, pick, words))
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, 'w', (0, 8)[pick(2)]) as archive:
        warnings.simplefilter('ignore')  # a name that is there twice
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name), inner, archive.compression)
    return made.getvalue()


def edit_png(content: bytes, pick: Pick, words: Sequence[bytes]) -> bytes:
    """A PNG in which a chunk is edited, gone or there twice; its checksums are right."""
    if content[:4] != b'\x89PNG':
        return content
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack('>I', content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    place = pick(len(chunks))
    name, inner = chunks[place]
    kind = pick(8)
    if kind == 0:
        del chunks[place]
    elif kind == 1:
        chunks.insert(pick(len(chunks)), chunks[place])
    elif kind == 2:
        chunks[place] = ([b'PLTE', b'tRNS', b'zTXt', b'iTXt', b'iCCP', b'eXIf', b'acTL', b'fdAT'][pick(8)], inner)
    elif name == b'IDAT' and kind < 6:
        chunks[place] = (name, zlib.compress(edited(zlib.decompress(inner), pick, words)))
    else:
        chunks[place] = (name, edited(inner, pick, words))
    made = content[:8]
    for name, inner in chunks:
        made += struct.pack('>I', len(inner)) + name + inner + struct.pack('>I', zlib.crc32(name + inner))
    return made


def made(parser: Parser, contents: Sequence[bytes], pick: Pick) -> bytes:
    """One input."""
    content = contents[pick(len(contents))]
    if pick(20) == 0:
        return bytes(pick(256) for _ in range(pick(40)))
    if parser.edit is None:
        return edited(content, pick, parser.words)
    kind = pick(5)
    if kind:
        content = parser.edit(content, pick, parser.words)
    return content if kind > 1 else edited(content, pick, parser.words)


# Limits ---------------------------------------------------------------------------------------------------------------


class Hang(BaseException):
    """An input took longer than it may; no ``except Exception`` keeps it."""


@contextmanager
def limits() -> Iterator[None]:
    """Bounds for the time and memory of one input."""

    def stop(*signal_and_frame: Any) -> None:
        raise Hang(f'longer than {SECONDS} s of the processor or {WAITING} s')

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    timers = (signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WAITING)
    before = {number: signal.signal(number, stop) for number, _, _ in timers}
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, timer, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def check(parser: Parser, folder: Path, content: bytes) -> bool:
    """Have a parser read a content, and see that it does well; whether it took it for a valid one."""
    path = folder / parser.file
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)  # numbers that are silently wrong from here on
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        warnings.simplefilter('ignore', UserWarning)
        try:
            with limits():
                parser.read(path)
        except parser.errors as error:
            message = str(error)
            assert path.name in message or str(folder) in message, f'does not name the file: {message!r}'
            assert len(message) <= MESSAGE, f'{len(message)} characters: {message[:200]!r}'
            # torch makes room for what the file says a text in it is long, and names the file when there is none.
            assert isinstance(error, RuntimeError) or not _out_of_memory(error), message
            return False
    return True


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that led to it, is for want of memory."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, MemoryError) or 'allocate memory' in str(error):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


# Parsers --------------------------------------------------------------------------------------------------------------

_JSON_WORDS = (
    *(
        b'null',
        b'true',
        b'NaN',
        b'-Infinity',
        b'1e999',
        b'-1',
        b'0',
        b'0.5',
        b'9' * 5000,
        b'""',
        b'"\\ud800"',
        b'"\\u0000"',
    ),
    *(b'[', b']', b'{', b'}', b',', b':', b'"', b'[' * 3000, b'{"a":' * 3000, b'[]', b'{}', b'\xef\xbb\xbf', b'\xff'),
    *(b'"../../x"', b'"/etc/passwd"', b'"cat"', b'"id"', b'"a.jpg"', b'"' + b'a' * 3000 + b'"'),
)
_CSV_WORDS = (
    *(
        b',',
        b';',
        b'"',
        b'\n',
        b'\r',
        b'\r\n',
        b'\0',
        b'\xef\xbb\xbf',
        b'\xff',
        b'0',
        b'1',
        b'cat',
        b'image',
        b'labels',
    ),
    *(b'""', b'\t', b' ', b'a' * 200000, b'../../x', b'\xe2\x80\xa8', b'cat;' * 500, b',' * 500),
)
_XML_WORDS = (
    *(
        b'<',
        b'>',
        b'/>',
        b'&',
        b'"',
        b'&amp;',
        b'&#0;',
        b'&#xD800;',
        b'&x;',
        b'<!--',
        b'<![CDATA[',
        b']]>',
        b'<a>',
        b'</a>',
    ),
    *(b'<!DOCTYPE a [<!ENTITY x "y">]>', b'<!ENTITY x SYSTEM "file:///etc/passwd">', b'<?xml version="1.0"?>'),
    *(b'<?xml version="1.0" encoding="utf-16"?>', b'<?xml version="1.0" encoding="nothing"?>', b'<a>' * 3000),
    *(b'"-1"', b'"0"', b'"1e999"', b'"nan"', b'"1e300"', b'"' + b'9' * 5000 + b'"', b'"cat"', b'"1,2;3"', b'\xff\xfe'),
    *(b'<?xml version="1.0" encoding="utf-7"?>', b'<?xml version="1.0" encoding="shift-jis"?>', b'name', b'object'),
)
_NPY_WORDS = (
    *(
        b"'<f2'",
        b"'<f8'",
        b"'|O'",
        b"'<U9'",
        b"'<U999999999'",
        b"'|V0'",
        b"'<M8[s]'",
        b'True',
        b'False',
        b'(0,)',
        b'()',
    ),
    *(b'(1, 2, 3)', b'(999999999, 999999999)', b'(-1,)', b'(1e9,)', b'\x93NUMPY\x01\x00', b'\x93NUMPY\x03\x00', b'('),
    *(
        b'\0\0\0\0\0\0\0\0',
        b'\xff\xff\xff\xff\xff\xff\xff\x7f',
        b'\x00\x7c',
        b'[' * 3000,
        b'shape',
        b'descr',
        b'9' * 5000,
    ),
)
_BINARY_WORDS = (
    b'\0\0\0\0',
    b'\xff\xff\xff\xff',
    b'\x7f\xff\xff\xff',
    b'\x00\x00\x27\x10',
    b'PK\x05\x06',
    b'IDAT',
    b'\xff\xd9',
)


def _valid_json(*documents: Any) -> Callable[[Path], list[bytes]]:
    return lambda folder: [json.dumps(document).encode() for document in documents]


def _check_labels(labels: dict[str, tuple[int, ...]]) -> None:
    for key, indices in labels.items():
        assert isinstance(key, str)
        assert list(indices) == sorted({*indices}) and all(0 <= index < len(CLASSES) - 1 for index in indices)


def _check_label_map(labels: np.ndarray, size: tuple[int, int] | None = None) -> None:
    assert labels.dtype == np.uint8 and labels.ndim == 2 and (size is None or labels.shape == size)


def _read_label_json(path: Path) -> None:
    _check_labels(read_json(str(path), CLASSES))


def _read_label_csv(path: Path) -> None:
    _check_labels(read_csv(str(path), CLASSES))


def _read_voc_xml(path: Path) -> None:
    _check_labels(read_voc_xml(str(path.parent), CLASSES, [path.stem]))


def _pictures(folder: Path) -> ImageFolder:
    """A folder of pictures beside the file."""
    if not (folder / 'images').exists():
        (folder / 'images/sub').mkdir(parents=True)
        for name in ('a.jpg', 'b.jpg', 'sub/c d.jpg', 'é.png'):
            Image.new('RGB', (16, 16)).save(folder / 'images' / name)
    return ImageFolder(folder / 'images')


def _look_over_labels(path: Path) -> None:
    found = look_over_labels(str(path), _pictures(path.parent))
    assert found.problems or all(count > 0 for count in found.images_of_class.values())


def _valid_lists(folder: Path) -> list[bytes]:
    names = ['a', 'b.jpg', 'sub/c d', 'é.png']
    return [
        newline.join(names).encode(encoding) for newline in ('\n', '\r\n', '\r') for encoding in ('utf-8', 'utf-8-sig')
    ]


def _read_list(path: Path) -> None:
    folder = _pictures(path.parent)
    problems = Problems()
    images = read_list(str(path), folder, problems)
    assert set(images) <= set(folder.paths) and len(set(images)) == len(images)
    assert len(str(problems)) < 10 * MESSAGE


def _coco(folder: Path) -> list[bytes]:
    annotations = COCOAnnotations(CLASSES)
    annotations.add('a.jpg', LABELS)
    annotations.add('sub/b.jpg', LABELS)
    content: Any = json.loads(json.dumps(annotations.content))
    content['categories'].pop()  # unknown
    content['annotations'] = [item for item in content['annotations'] if item['category_id'] != 255]
    content['annotations'][0]['segmentation'] = [[1, 1, 4, 1, 4.5, 5], [0.5, 0, 7, 2, 3, 3]]
    content['annotations'][1]['segmentation'] = {'size': [6, 8], 'counts': [1, 3, 2, 42]}
    content['annotations'][1]['iscrowd'] = 1
    return [json.dumps(content).encode()]


def _read_coco_labels(path: Path) -> None:
    _check_labels(read_coco_instances(str(path), CLASSES))


def _render_coco(path: Path) -> None:
    classes, images = load_annotated_images(str(path))
    for image in images:
        if image.height * image.width <= 10**6:
            for overlap, crowds in (('later', 'ignore'), ('smaller', 'background')):
                try:
                    labels = render_label_map(image, overlap=overlap, crowds=crowds)  # type: ignore[arg-type]
                except ValueError as error:
                    assert image.file_name[:10] in str(error), error
                    raise ValueError(f'{path}: {error}') from error
                _check_label_map(labels, (image.height, image.width))
                assert ((labels < len(classes)) | (labels == 255)).all()


def _draw(drawing: Drawing) -> None:
    if drawing.size == SIZE:  # what is checked against the image before anything is drawn
        _check_label_map(draw_label_map(drawing, CLASSES), SIZE)


def _import_coco(path: Path) -> None:
    for drawing in read_coco(str(path)):
        _draw(drawing)


def _import_labelme(path: Path) -> None:
    _draw(read_labelme(str(path), 'a'))


def _import_cvat(path: Path) -> None:
    for drawing in read_cvat(str(path)):
        _draw(drawing)


def _labelme(folder: Path) -> list[bytes]:
    contents = [labelme_content('a.jpg', LABELS, CLASSES, shapes) for shapes in ('polygon', 'mask')]  # type: ignore[arg-type]
    other = dict(contents[0])
    kinds = {
        'rectangle': [[1, 1], [3, 4]],
        'circle': [[3, 3], [4, 5]],
        'oriented_rectangle': [[0, 0], [4, 1], [4, 3], [0, 2]],
    }
    other['shapes'] = [dict(label='dog', shape_type=kind, points=points) for kind, points in kinds.items()]
    return [json.dumps(content).encode() for content in (*contents, other)]


def _cvat(folder: Path) -> list[bytes]:
    text = ''.join(cvat_xml(iter([('a.jpg', LABELS), ('b.jpg', LABELS)]), 2, CLASSES, 'task'))
    shapes = (
        '<box label="cat" xtl="1" ytl="1" xbr="4.5" ybr="3" rotation="30" z_order="2"/>'
        '<polygon label="dog" points="1,1;4,1;4,5" z_order="0"/>'
    )
    image = f'<image id="0" name="a.jpg" width="8" height="6">{shapes}</image>'
    return [text.encode(), f'<annotations><version>1.1</version>{image}</annotations>'.encode()]


def _cvat_zip(folder: Path) -> list[bytes]:
    made = []
    for content in _cvat(folder):
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('annotations.xml', content)
        made.append(file.getvalue())
    return made


def _cam_files(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    path = folder / 'valid.npz'
    contents = []
    for classes in ([], [1], [1, 3]):
        write_cam(path, np.array(classes), rng.random((len(classes) + 1, 2, 2)), SIZE, 'abc')
        contents.append(path.read_bytes())
    path.unlink()
    return contents


def _read_cam(path: Path) -> None:
    cam = read_cam(path, len(CLASSES), 'abc')
    assert cam.is_cam.shape[0] == len(cam.classes) + 1 and np.isfinite(cam.is_cam).all()
    if cam.size[0] * cam.size[1] <= 10**6:
        _check_label_map(cam.label_map(), cam.size)


def _label_pngs(folder: Path) -> list[bytes]:
    path = folder / 'valid.png'
    write_label_png(path, LABELS, voc_palette(len(CLASSES)))
    contents = [path.read_bytes()]
    path.unlink()
    for options in (dict(format='PNG'), dict(format='BMP'), dict(format='TIFF', compression='tiff_deflate')):
        file = io.BytesIO()
        Image.fromarray(LABELS).save(file, **options)
        contents.append(file.getvalue())
    return contents


def _read_label_png(path: Path) -> None:
    labels = read_label_png(path, len(CLASSES), SIZE)
    _check_label_map(labels, SIZE)
    assert ((labels < len(CLASSES)) | (labels == 255)).all()


def _read_mask(path: Path) -> None:
    _check_labels(read_masks(str(path.parent), CLASSES, [path.stem]))


def _picture_files(folder: Path) -> list[bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 24, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = []
    for options in (
        *(dict(format='JPEG', exif=exif), dict(format='JPEG', progressive=True), dict(format='PNG', exif=exif)),
        *(dict(format='TIFF', compression='tiff_lzw'), dict(format='WEBP', exif=exif), dict(format='BMP')),
        dict(format='PNG', optimize=True),
    ):
        file = io.BytesIO()
        image.save(file, **options)
        contents.append(file.getvalue())
    return contents


def _look_at_picture(path: Path) -> None:
    problem = sample_problem(str(path))
    if problem is not None:
        raise ValueError(problem)
    assert min(image_size(path)) >= 16


def _look_at_size(path: Path) -> None:
    assert min(image_size(path)) >= 1


def _look_at_mask(path: Path) -> None:
    image = path.parent / 'image.png'
    if not image.exists():
        Image.new('RGB', (SIZE[1], SIZE[0])).save(image)
    problem = sample_problem(str(image), str(path), num_classes=len(CLASSES), min_side=1)
    if problem is not None:
        raise ValueError(problem)


_SETTINGS = {'tool': 'generate_labels', 'version': '1', 'model': {'type': 'A', 'scales': [1.0, 0.5]}, 'tta_model': None}


def _read_settings(path: Path) -> None:
    folder = ResultFolder(path.parent, '.png')
    write_label_png(path.parent / 'a.png', LABELS, voc_palette(4)) if not (path.parent / 'a.png').exists() else None
    found = folder.settings()
    assert found is not None and len(folder.digest()) == 64
    counts = np.ones(3, int)
    report = LabelReport(
        *(
            'a',
            'label maps',
            ('background', 'cat'),
            ((0, 0, 0), (1, 2, 3)),
            1,
            counts,
            counts,
            None,
            None,
            None,
            (),
            '',
        ),
        settings=found,
    )
    assert render_label_report(report).startswith('<!DOCTYPE html>')
    if found != _SETTINGS:
        folder.start(_SETTINGS)  # an error that names what is different
        raise AssertionError('took results of other settings for its own')


def _pipeline(root: Path) -> tuple[Stage, Pipeline]:
    stage = Stage('maps', ('true',), title='maps', env={'A': 'b'})
    return stage, Pipeline([stage], root, say=lambda text: None)


def _pipeline_records(folder: Path) -> list[bytes]:
    _, pipeline = _pipeline(folder)
    pipeline.run(['maps'])
    record = json.loads((folder / 'stages/maps.json').read_text())
    record['figures'] = {'mIoU': 61.5, 'FP': 20}
    record['configs'] = {'a.py': {'model': {'type': 'A'}}}
    other = {**record, 'made_with': {**record['made_with'], 'config a.py': 'abc', 'command': 'false'}}
    return [json.dumps(each).encode() for each in (record, other)]


def _read_record(path: Path) -> None:
    stage, pipeline = _pipeline(path.parents[1])
    state = pipeline.state(stage)
    assert state in ('done', 'to do', 'changed')
    assert ('maps' in pipeline.summary()) == (state == 'done')
    assert pipeline.table().startswith('| stage')
    pipeline.run(['maps']) if state == 'done' else None


def _logs(folder: Path) -> list[bytes]:
    lines = [
        {
            'lr': 0.1,
            'data_time': 0.5,
            'loss': 2.5,
            'decode.loss_cls': 1.5,
            'decode.loss_gsc': 1.0,
            'iter': 10,
            'step': 10,
        },
        {'lr': 0.05, 'loss': float('nan'), 'decode.loss_cls': float('nan'), 'iter': 20, 'step': 20},
        {'mIoU': 40.0, 'mAP': 50.5, 'cam_mIoU@0.15': 30.0, 'step': 20},
    ]
    return [''.join(json.dumps(line) + '\n' for line in lines[:number]).encode() for number in (1, 3)]


def _read_logs(path: Path) -> None:
    run = collect_run_report(path.parents[1])
    assert all(isinstance(value, float) for points in run.curves.values() for _, value in points)
    assert render_page(run.title, run_sections(run)).startswith('<!DOCTYPE html>')


def _read_shapes(path: Path) -> None:
    write_shapes(path.parent, ShapesSettings(num_train=1, num_val=1))
    raise AssertionError('took a folder without pictures for the set')


def _read_conversion(path: Path) -> None:
    keep_settings(path.parent, Path('instances.json'), 'later', 'ignore')
    assert json.loads(path.read_text(encoding='utf-8-sig')) == _CONVERSION


_CONVERSION = {'instances': 'instances.json', 'overlap': 'later', 'crowds': 'ignore'}


def _note(folder: Path) -> list[bytes]:
    torch.save({}, folder / 'last.pth')
    return [b'last.pth', b'/elsewhere/work_dirs/a/last.pth\n']


def _read_note(path: Path) -> None:
    assert find_checkpoint(path.parent).is_file()


def _read_runs(path: Path) -> None:
    text = path.read_bytes().decode('utf-8', 'replace')
    try:
        runs = decompress(text)
        mask = from_run_lengths(runs, 48)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    assert mask.shape == (48,) and int(runs.sum()) == 48


def _checkpoints(folder: Path) -> list[bytes]:
    contents = []
    state = {
        'meta': {'epoch': 3, 'classes': ('a', 'b')},
        'state_dict': {'w': torch.arange(6.0).reshape(2, 3), 'n': torch.tensor(1)},
    }
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=zipped)
        contents.append(file.getvalue())
    return contents


def _read_checkpoint(path: Path) -> None:
    load_local_checkpoint(str(path), map_location='cpu')


_LABEL_JSON = _valid_json({'a': ['cat'], 'sub/c d.jpg': ['dog', 'cat'], 'é': [], 'b.jpg': ['potted plant']})


def _label_csv(folder: Path) -> list[bytes]:
    names = 'image,labels\na,cat\nsub/c d.jpg,"cat;dog"\né,\nb.jpg,potted plant\n'
    marks = 'image,dog,cat,potted plant\na,1,0,0\nb.jpg,0,0,1\n'
    return [
        text.replace('\n', end).encode(encoding)
        for text in (names, marks)
        for end in ('\n', '\r\n')
        for encoding in ('utf-8', 'utf-8-sig')
    ]


PARSERS = {
    'label JSON': Parser('labels.json', _read_label_json, _LABEL_JSON, _JSON_WORDS, edit_json),
    'label CSV': Parser('labels.csv', _read_label_csv, _label_csv, _CSV_WORDS),
    'label JSON, looked over': Parser('labels.json', _look_over_labels, _LABEL_JSON, _JSON_WORDS, edit_json),
    'label CSV, looked over': Parser('labels.csv', _look_over_labels, _label_csv, _CSV_WORDS),
    'VOC XML': Parser(
        'a.xml',
        _read_voc_xml,
        lambda folder: [
            b'<annotation><filename>a.jpg</filename><object><name>cat</name><part><name>head</name></part></object>'
            b'<object><name> dog </name><bndbox><xmin>1</xmin></bndbox></object></annotation>'
        ],
        _XML_WORDS,
    ),
    'list file': Parser('list.txt', _read_list, _valid_lists, _CSV_WORDS),
    'COCO labels': Parser('instances.json', _read_coco_labels, _coco, _JSON_WORDS, edit_json),
    'COCO masks': Parser('instances.json', _render_coco, _coco, _JSON_WORDS, edit_json),
    'COCO import': Parser('annotations.json', _import_coco, _coco, _JSON_WORDS, edit_json),
    'COCO runs': Parser(
        'runs.txt',
        _read_runs,
        lambda folder: [compress(run_lengths(LABELS.ravel() == value)).encode() for value in (0, 1, 3, 7)],
        (b'0', b'o', b'\x7f', b'`' * 20),
    ),
    'labelme import': Parser('a.json', _import_labelme, _labelme, _JSON_WORDS, edit_json),
    'CVAT import': Parser('annotations.xml', _import_cvat, _cvat, _XML_WORDS),
    'CVAT zip import': Parser('task.zip', _import_cvat, _cvat_zip, _XML_WORDS, edit_zip),
    'CAM file': Parser('a.npz', _read_cam, _cam_files, _NPY_WORDS, edit_zip),
    'label map': Parser('a.png', _read_label_png, _label_pngs, _BINARY_WORDS, edit_png),
    'labels from masks': Parser('a.png', _read_mask, _label_pngs, _BINARY_WORDS, edit_png),
    'mask': Parser('a.png', _look_at_mask, _label_pngs, _BINARY_WORDS, edit_png),
    'picture': Parser('a.jpg', _look_at_picture, _picture_files, _BINARY_WORDS, edit_png),
    'size of a picture': Parser('a.jpg', _look_at_size, _picture_files, _BINARY_WORDS, edit_png),
    'settings of a folder': Parser('settings.json', _read_settings, _valid_json(_SETTINGS), _JSON_WORDS, edit_json),
    'pipeline state': Parser('stages/maps.json', _read_record, _pipeline_records, _JSON_WORDS, edit_json),
    'training log': Parser('vis_data/scalars.json', _read_logs, _logs, _JSON_WORDS, edit_lines),
    'manifest of the built-in set': Parser(
        'shapes.json',
        _read_shapes,
        _valid_json(ShapesSettings(num_train=1, num_val=1).as_json()),
        _JSON_WORDS,
        edit_json,
    ),
    'settings of a conversion': Parser(
        'conversion.json', _read_conversion, _valid_json(_CONVERSION), _JSON_WORDS, edit_json
    ),
    'note of the last checkpoint': Parser(
        'last_checkpoint', _read_note, _note, (b'\0', b'../', b'/', b'\n', b'\xff', b'a' * 5000)
    ),
    'checkpoint': Parser(
        'a.pth',
        _read_checkpoint,
        _checkpoints,
        _BINARY_WORDS,
        edit_zip,
        (ValueError, OSError, RuntimeError, UnpicklingError),
    ),
}


@pytest.fixture(params=PARSERS)
def fuzzed(request: pytest.FixtureRequest) -> Iterator[tuple[Parser, Path, list[bytes]]]:
    """A parser, a folder in memory for its file, and valid contents, which it takes."""
    parser = PARSERS[request.param]
    memory = '/dev/shm' if Path('/dev/shm').is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        (folder / parser.file).parent.mkdir(parents=True, exist_ok=True)
        contents = parser.valid(folder)
        yield parser, folder, contents


def test_inputs_of_hypothesis(fuzzed: tuple[Parser, Path, list[bytes]], request: pytest.FixtureRequest) -> None:
    parser, folder, contents = fuzzed

    @settings(
        max_examples=min(request.config.getoption('--fuzz-inputs') // 4, 2000),
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        check(parser, folder, made(parser, contents, lambda number: data.draw(st.integers(0, number - 1))))

    run()


def test_seeded_inputs(fuzzed: tuple[Parser, Path, list[bytes]], request: pytest.FixtureRequest) -> None:
    parser, folder, contents = fuzzed
    taken = 0
    number = request.config.getoption('--fuzz-inputs')
    start = time.perf_counter()
    for seed in range(number):
        rng = random.Random(seed)
        content = made(parser, contents, lambda number, rng=rng: int(rng.random() * number))
        try:
            taken += check(parser, folder, content)
        except BaseException as error:
            error.add_note(f'seed {seed}: {base64.b64encode(content[:3000]).decode()}') if hasattr(
                error, 'add_note'
            ) else None
            raise
    print(f'{request.node.callspec.id}: {number} inputs, {taken} taken, {time.perf_counter() - start:.0f} s')


@pytest.mark.parametrize(('limit', 'sleeps'), [('SECONDS', False), ('WAITING', True)])
def test_an_input_without_end_is_noticed(limit: str, sleeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), limit, 0.2)
    start = time.perf_counter()
    with pytest.raises(Hang), limits():
        while time.perf_counter() - start < 30:
            if sleeps:
                time.sleep(30)
