"""Bombs, names that lead elsewhere, and odd but right ways to write a file. Fuzzing has the rest: test_fuzz.py."""

import errno
import io
import json
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets import ImageLevelDataset, image_files
from sipe_mmseg.datasets.atomic_write import atomic_write
from sipe_mmseg.datasets.cam_files import read_cam, write_cam
from sipe_mmseg.datasets.coco_masks import AnnotatedImage, load_annotated_images, segmentation_mask
from sipe_mmseg.datasets.folder_lock import folder_lock
from sipe_mmseg.datasets.image_files import (
    ImageFolder,
    Problems,
    check_samples,
    image_size,
    list_files,
    raise_problems,
    read_list,
    sample_problem,
)
from sipe_mmseg.datasets.image_labels import read_csv, read_json, read_masks, read_voc_xml
from sipe_mmseg.datasets.json_files import load_json
from sipe_mmseg.datasets.label_files import read_label_png, write_label_png
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.result_folder import ResultFolder, refuse_links
from sipe_mmseg.engine.label_exchange import import_labels
from sipe_mmseg.engine.pipeline import Pipeline
from sipe_mmseg.interchange.cvat import cvat_xml, read_cvat
from sipe_mmseg.interchange.labelme import read_labelme
from sipe_mmseg_cli.convert_coco14 import convert
from sipe_mmseg_cli.main import main

CLASSES = ('background', 'cat', 'dog')
METAINFO = {'classes': CLASSES}


def peak(function: Callable[[], Any]) -> int:
    """Bytes that a function had at once, as far as Python knows of them."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestXml:
    ENTITIES = (
        '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;">]>',
        f'<!DOCTYPE a [<!ENTITY x "{"x" * 1000}">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://localhost:1/a.dtd">',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>',
        '<!DOCTYPE annotation>',
    )

    @pytest.mark.parametrize('declaration', ENTITIES)
    @pytest.mark.parametrize('before', ['', '<?xml version="1.0" encoding="utf-8"?>\n', '<!-- a -->'])
    def test_declarations_are_refused_before_they_are_read(self, declaration: str, before: str, tmp_path: Path) -> None:
        path = tmp_path / 'a.xml'
        path.write_text(f'{before}{declaration}<annotation><object><name>cat</name></object></annotation>')
        with pytest.raises(ValueError, match=r'a\.xml: has a document type declaration'):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])
        path.write_text(f'{before}{declaration}<annotations/>')
        with pytest.raises(ValueError, match=r'a\.xml: has a document type declaration'):
            list(read_cvat(str(path)))

    def test_other_encodings_are_read_or_refused(self, tmp_path: Path) -> None:
        text = '<?xml version="1.0" encoding="{}"?><annotation><object><name>é</name></object></annotation>'
        for encoding in ('utf-8', 'utf-16', 'iso-8859-1', 'windows-1252'):
            (tmp_path / 'a.xml').write_text(text.format(encoding), encoding=encoding)
            assert read_voc_xml(str(tmp_path), ('background', 'é'), ['a']) == {'a': (0,)}
        (tmp_path / 'a.xml').write_text(text.format('shift-jis'))
        with pytest.raises(ValueError, match=r'a\.xml: not XML in an encoding that can be read .*; save it in UTF-8'):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])
        (tmp_path / 'a.xml').write_text(text.format('nothing'))
        with pytest.raises(ValueError, match=r'a\.xml: not well-formed XML \(unknown encoding: nothing\)'):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])

    def test_a_long_attribute_takes_no_longer_for_its_length(self, tmp_path: Path) -> None:
        """Given in small blocks, expat before 2.6 reads it again for each."""
        path = tmp_path / 'a.xml'
        path.write_text(
            f'<annotations><image id="0" name="a" width="8" height="6" x="{"1, " * 2_700_000}"/></annotations>'
        )
        start = time.perf_counter()
        assert len(list(read_cvat(str(path)))) == 1
        assert time.perf_counter() - start < 10

    def test_names_that_xml_cannot_hold_are_not_written(self) -> None:
        for name in ('a\1.jpg', 'a\udcff.jpg', 'a\ufffe'):
            with pytest.raises(ValueError, match='an image of this name cannot be written to XML'):
                list(cvat_xml(iter([(name, np.zeros((2, 2), np.uint8))]), 1, CLASSES, 'task'))

    def test_zip_bomb(self, tmp_path: Path) -> None:
        path = tmp_path / 'a.zip'
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('annotations.xml', '<annotations>' + ' ' * 30_000_000 + '</annotations>')
        with pytest.raises(ValueError, match=r'a\.zip: its annotations\.xml would grow from \d+ to 30000027 bytes'):
            list(read_cvat(str(path)))


def png(width: int, height: int, mode: int = 0) -> bytes:
    """A PNG whose header says so, with next to nothing in it."""
    chunks = (
        (b'IHDR', struct.pack('>IIBBBBB', width, height, 8, mode, 0, 0, 0)),
        (b'IDAT', zlib.compress(b'\0' * 1000)),
        (b'IEND', b''),
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    )


class TestImages:
    @pytest.mark.parametrize(('width', 'height'), [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (178_956_971, 1)])
    def test_decompression_bombs(self, width: int, height: int, tmp_path: Path) -> None:
        path = tmp_path / 'a.png'
        path.write_bytes(png(width, height))
        Image.new('RGB', (20, 20)).save(tmp_path / 'b.png')
        (tmp_path / 'a.json').write_text(
            json.dumps(dict(imageHeight=20, imageWidth=20, shapes=[self.labelme_mask(path.read_bytes())]))
        )

        def read_all() -> None:
            with pytest.raises(ValueError, match=r'a\.png: not a readable PNG .*bomb'):
                read_label_png(path, 3)
            with pytest.raises(ValueError, match=r'a\.png: .*bomb'):
                read_masks(str(tmp_path), CLASSES, ['a'])
            with pytest.raises(OSError, match=r'a\.png: not a readable image .*bomb'):
                image_size(path)
            assert 'a.png: not a readable image' in str(sample_problem(str(path)))
            assert 'a.png: not a readable mask' in str(sample_problem(str(tmp_path / 'b.png'), str(path)))
            with pytest.raises(ValueError, match=r'a\.json, shape 1 .*: its mask is no PNG in base64 .*bomb'):
                list(read_labelme(str(tmp_path / 'a.json'), 'a').shapes)

        assert peak(read_all) < 5e6

    @staticmethod
    def labelme_mask(content: bytes) -> dict[str, Any]:
        from base64 import b64encode

        return dict(label='cat', shape_type='mask', points=[[0, 0], [1, 1]], mask=b64encode(content).decode())

    def test_a_labelme_mask_is_no_larger_than_its_image(self, tmp_path: Path) -> None:
        """One of a single row, moved about, would need room for its length times the image's height."""
        (tmp_path / 'a.json').write_text(
            json.dumps(dict(imageHeight=2000, imageWidth=20, shapes=[self.labelme_mask(png(80_000_000, 1))]))
        )
        with pytest.raises(ValueError, match='its mask has 80000000x1 pixels, and the image only 20x2000'):
            list(read_labelme(str(tmp_path / 'a.json'), 'a').shapes)

    def test_no_other_program_is_started_for_a_picture(self, tmp_path: Path) -> None:
        (tmp_path / 'a.png').write_bytes(
            b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n'
        )
        assert 'cannot identify' in str(sample_problem(str(tmp_path / 'a.png')))

    @pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
    def test_a_pipe_is_no_picture(self, name: str, tmp_path: Path) -> None:
        """Opening one waits for somebody to write into it."""
        os.mkfifo(tmp_path / name)
        assert f'{name}: no such image' in str(sample_problem(str(tmp_path / name)))
        for read in (lambda path: read_label_png(path, 3), image_size, load_json, read_cam):
            with pytest.raises(FileNotFoundError):
                read(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize('error', [MemoryError(), OSError(errno.EIO, os.strerror(errno.EIO))])
class TestSoundFiles:
    """They are not called broken for what befalls the machine while they are read."""

    @pytest.fixture
    def sound(self, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder with a label map and a file of CAMs, neither of which can be read."""
        write_label_png(tmp_path / 'a.png', np.ones((20, 20)), voc_palette(3))
        TestCamFiles.written(tmp_path / 'a.npz')

        def fail(file: Any, *given: int) -> bytes:
            if 'a.png' in repr(file) or isinstance(file, zipfile.ZipFile):
                raise error
            return io.BufferedReader.read(file, *given)

        monkeypatch.setattr(image_files._File, 'read', fail)
        if isinstance(error, MemoryError):
            monkeypatch.setattr(zipfile.ZipFile, 'infolist', fail)
        else:
            (tmp_path / 'a.npz').unlink()
            (tmp_path / 'a.npz').symlink_to('/proc/self/mem')  # whose beginning is an EIO, which zipfile hides
        return tmp_path

    def test_what_reads_one_file_says_what_it_was(self, sound: Path, error: Exception) -> None:
        for read in (
            lambda: read_label_png(sound / 'a.png', 3),
            lambda: image_size(sound / 'a.png'),
            lambda: read_masks(str(sound), CLASSES, ['a']),
            lambda: read_cam(sound / 'a.npz', 3),
        ):
            with pytest.raises(type(error)) as caught:
                read()
            assert getattr(caught.value, 'errno', None) == getattr(error, 'errno', None)

    def test_a_check_of_many_goes_on_while_there_is_memory(self, sound: Path, error: Exception) -> None:
        Image.new('RGB', (20, 20)).save(sound / 'b.png')
        paths = [str(sound / 'a.png')] * 2
        if isinstance(error, MemoryError):
            with pytest.raises(MemoryError):
                check_samples([(path, None) for path in paths])
        else:
            line = f'{paths[0]}: cannot be read (Input/output error)'
            assert check_samples([(path, None) for path in paths]) == [line, line]
            assert sample_problem(str(sound / 'b.png'), paths[0]) == line


def test_maps_packed_by_lzma_are_refused(tmp_path: Path) -> None:
    """Which asks for as much memory as the file says, up to 4 GB."""
    path = TestCamFiles.written(tmp_path / 'a.npz')
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_LZMA) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file, or cut short \(it is packed in another way'):
        read_cam(path)


class TestCamFiles:
    @staticmethod
    def written(path: Path) -> Path:
        write_cam(path, np.array([1, 2]), np.zeros((3, 4, 4)), (16, 16))
        return path

    def rewritten(self, path: Path, **members: bytes) -> Path:
        with zipfile.ZipFile(self.written(path)) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in (contents | {f'{key}.npy': value for key, value in members.items()}).items():
                archive.writestr(name, content)
        return path

    @pytest.mark.parametrize(
        'shape', ['(1000000000, 1000000000, 3)', '(3, 40000, 40000)', '(3, 4, -4)', '(3, 4, 4, 1)']
    )
    def test_a_header_that_claims_more_than_there_is(self, shape: str, tmp_path: Path) -> None:
        header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
        content = b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + bytes(96)
        path = self.rewritten(tmp_path / 'a.npz', is_cam=content)

        def read() -> None:
            with pytest.raises(ValueError, match=r'a\.npz: not a CAM file'):
                read_cam(path)

        assert peak(read) < 1e6

    def test_a_member_that_is_larger_than_the_directory_says(self, tmp_path: Path) -> None:
        path = self.rewritten(tmp_path / 'a.npz', is_cam=bytes(200_000_000))
        content = path.read_bytes()
        size = struct.pack('<I', 200_000_000)
        assert content.count(size) == 2  # before the member, and in the directory
        path.write_bytes(content.replace(size, struct.pack('<I', 224)))

        def read() -> None:
            with pytest.raises(ValueError, match=r'a\.npz: not a CAM file'):
                read_cam(path)

        assert peak(read) < 5e6

    def test_a_directory_that_promises_gigabytes(self, tmp_path: Path) -> None:
        path = self.written(tmp_path / 'a.npz')
        content = bytearray(path.read_bytes())
        entry = content.index(b'PK\x01\x02')
        content[entry + 24 : entry + 28] = struct.pack('<I', 2**31)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'its arrays have \d+ bytes, more than 1073741824'):
            read_cam(path)

    def test_maps_for_an_image_that_cannot_be(self, tmp_path: Path) -> None:
        for size in ((2**40, 2**40), (50_000, 50_000)):
            content = io.BytesIO()
            np.save(content, np.array(size))
            with pytest.raises(ValueError, match=r'3 maps of an image of .* too large to be right'):
                read_cam(self.rewritten(tmp_path / 'a.npz', size=content.getvalue()))

    def test_descending_classes_that_wrap_around(self, tmp_path: Path) -> None:
        content = io.BytesIO()
        np.save(content, np.array([2, 1], np.uint8))
        with pytest.raises(ValueError, match=r'classes must be ascending class indices from 1 on, not \[2, 1\]'):
            read_cam(self.rewritten(tmp_path / 'a.npz', classes=content.getvalue()))

    def test_column_order_comes_back(self, tmp_path: Path) -> None:
        maps = np.asfortranarray(np.random.default_rng(0).random((3, 4, 5)))
        write_cam(tmp_path / 'a.npz', np.array([1, 2]), maps, (16, 20))
        np.testing.assert_allclose(read_cam(tmp_path / 'a.npz').is_cam, maps, atol=2**-11)


class TestJson:
    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('[' * 100_000, 'nested too deeply'),
            ('{"a":' * 100_000, 'nested too deeply'),
            ('{"a": [' + '9' * 5000 + ']}', r'not JSON in UTF-8 \(Exceeds the limit'),
            ('{"a": ["cat"], "b": NaN}', "key 'b': the value must be a list of class names, not nan"),
            ('{"a": [1e999]}', "key 'a': labels are names of classes, not inf"),
            ('{"a": ["cat"], "a": ["dog"]}', "key 'a': appears twice, with cat and with dog"),
            ('{"' + 'a' * 100_000 + '": 1}', r"key 'a{20,30}\.\.\.a{20,30}': the value must be"),
            ('{"a": ["' + 'c' * 1_000_000 + '"]}', r"key 'a': 'c{20,30}\.\.\.c{20,30}' is not a class\. The classes"),
        ],
    )
    def test_labels(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / 'labels.json').write_text(text)
        start = time.perf_counter()
        with pytest.raises(ValueError, match=rf'labels\.json.*{message}') as caught:
            read_json(str(tmp_path / 'labels.json'), CLASSES)
        assert time.perf_counter() - start < 5 and len(str(caught.value)) < 500

    def test_a_key_that_is_there_twice_is_refused_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / 'a.json').write_text('{"images": [], "annotations": [], "categories": [], "images": [1]}')
        with pytest.raises(ValueError, match=r"a\.json: not JSON in UTF-8 \(the key 'images' is there twice\)"):
            load_annotated_images(str(tmp_path / 'a.json'))
        many = ', '.join(f'"{key}": 0' for key in range(200_000))
        (tmp_path / 'a.json').write_text(f'{{{many}, "199999": 1}}')
        with pytest.raises(ValueError, match=r"the key '199999' is there twice"):
            load_json(tmp_path / 'a.json')

    def test_a_size_that_no_image_has(self, tmp_path: Path) -> None:
        image = dict(id=1, file_name='a.jpg', height=10**6, width=10**6)
        (tmp_path / 'a.json').write_text(json.dumps(dict(images=[image], annotations=[], categories=[])))
        with pytest.raises(ValueError, match=r'a\.json, image a\.jpg: height 1000000 and width 1000000 are more than'):
            load_annotated_images(str(tmp_path / 'a.json'))

    def test_a_polygon_that_goes_up_and_down_without_end(self) -> None:
        zigzag = [0.0, 0.0, 1.0, 10_000.0] * 30_000
        with pytest.raises(
            ValueError, match=r'a polygon crosses the rows of pixels \d+ times, but there are only 100000'
        ):
            segmentation_mask([zigzag], 10_000, 10)


BAD_IDS = ('../a', '/a', '..', '.', '', 'b/../../a', 'a\0', '\ud800', '..\\a', '.a', 'a/', '//a')


class TestIds:
    @pytest.mark.parametrize('name', BAD_IDS)
    def test_nothing_is_written_elsewhere(self, name: str, tmp_path: Path) -> None:
        out = tmp_path / 'out'
        out.mkdir()
        with pytest.raises(ValueError, match='its result would not lie in'):
            ResultFolder(out, '.png').path(name)
        with pytest.raises(ValueError, match='its result would not lie in'):
            convert(
                AnnotatedImage(f'{name}.jpg' if name not in ('', '.', '..') else name, 4, 4, []), out, 'later', 'ignore'
            )
        assert [path.name for path in tmp_path.rglob('*')] == ['out']

    @pytest.mark.parametrize('name', ['a b', 'é/ü', 'a\n', 'a..b', 'a.b/c'])
    def test_odd_names_are_names(self, name: str, tmp_path: Path) -> None:
        assert convert(AnnotatedImage(f'{name}.jpg', 4, 4, []), tmp_path, 'later', 'ignore')
        assert (tmp_path / f'{name}.png').is_file()

    @pytest.mark.parametrize(
        'key', ['../secret', '../secret.jpg', 'b/../../secret', '\0', '', '.', '..', '/etc/passwd']
    )
    def test_lists_and_labels_name_nothing_elsewhere(self, key: str, tmp_path: Path) -> None:
        (tmp_path / 'images').mkdir()
        for path in ('secret.jpg', 'images/a.jpg'):
            Image.new('RGB', (16, 16)).save(tmp_path / path)
        folder = ImageFolder(tmp_path / 'images')
        assert folder.find(key, 'here') is None
        assert folder.find(str(tmp_path / 'secret.jpg'), 'here') is None

    @pytest.mark.parametrize('name', BAD_IDS)
    def test_imports_take_only_images_of_the_data_set(self, name: str, tmp_path: Path) -> None:
        (tmp_path / 'images').mkdir()
        Image.new('RGB', (16, 16)).save(tmp_path / 'images/b.jpg')
        dataset = ImageLevelDataset(None, '', str(tmp_path / 'images'), test_mode=True, metainfo=METAINFO)
        content = dict(images=[dict(id=1, file_name=name, height=16, width=16)], annotations=[], categories=[])
        (tmp_path / 'annotations.json').write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r'annotations\.json: 1 of its images are not among'):
            import_labels('coco-rle', dataset, tmp_path / 'annotations.json', tmp_path / 'out')
        assert not (tmp_path / 'out').exists()


class TestLinks:
    def test_data_may_be_linked(self, tmp_path: Path) -> None:
        (tmp_path / 'disk/deep').mkdir(parents=True)
        Image.new('RGB', (16, 16)).save(tmp_path / 'disk/deep/a.jpg')
        (tmp_path / 'images').mkdir()
        (tmp_path / 'images/linked').symlink_to(tmp_path / 'disk')
        (tmp_path / 'images/b.jpg').symlink_to(tmp_path / 'disk/deep/a.jpg')
        dataset = ImageLevelDataset(None, '', str(tmp_path / 'images'), test_mode=True, metainfo=METAINFO)
        assert [info['img_id'] for info in dataset.load_data_list()] == ['b', 'linked/deep/a']

    def test_links_in_a_circle_end(self, tmp_path: Path) -> None:
        (tmp_path / 'a/b').mkdir(parents=True)
        (tmp_path / 'a/b/1.jpg').touch()
        for name in ('a/b/here', 'a/b/there', 'a/b/yonder'):
            (tmp_path / name).symlink_to(tmp_path / 'a')
        (tmp_path / 'self').symlink_to(tmp_path)
        (tmp_path / 'c').symlink_to(tmp_path / 'a/b')  # the same pictures by another way are no circle
        assert list_files(tmp_path, ('.jpg',)) == ['a/b/1.jpg', 'c/1.jpg']

    def test_folders_linked_to_each_other_end(self, tmp_path: Path) -> None:
        for here, there in ('ab', 'ba'):
            (tmp_path / here).mkdir()
            (tmp_path / here / f'{here}.jpg').touch()
            (tmp_path / here / 'other').symlink_to(tmp_path / there)
        assert list_files(tmp_path, ('.jpg',)) == ['a/a.jpg', 'a/other/b.jpg', 'b/b.jpg', 'b/other/a.jpg']

    def test_results_are_not_written_through_a_link(self, tmp_path: Path) -> None:
        out, elsewhere = tmp_path / 'out', tmp_path / 'elsewhere'
        out.mkdir()
        elsewhere.mkdir()
        (out / 'sub').symlink_to(elsewhere)
        with pytest.raises(
            ValueError, match=r'out/sub: a link to .*elsewhere, so that results would be written outside'
        ):
            ResultFolder(out, '.png').start({'tool': 'a'})
        (out / 'sub').unlink()
        (out / 'more').mkdir()
        (out / 'sub').symlink_to(out / 'more')
        refuse_links(out)  # stays in the folder
        (tmp_path / 'linked').symlink_to(out)
        ResultFolder(tmp_path / 'linked', '.png').start({'tool': 'a'})
        assert (out / 'settings.json').is_file()

    def test_a_result_takes_the_place_of_a_link(self, tmp_path: Path) -> None:
        (tmp_path / 'precious').write_text('mine')
        (tmp_path / 'a.png').symlink_to(tmp_path / 'precious')
        write_label_png(tmp_path / 'a.png', np.zeros((2, 2), np.uint8), voc_palette(3))
        with atomic_write(tmp_path / 'b') as temporary:
            temporary.write_text('b')
        assert (tmp_path / 'precious').read_text() == 'mine' and not (tmp_path / 'a.png').is_symlink()

    def test_a_lock_is_a_file_of_ours(self, tmp_path: Path) -> None:
        lock, precious = tmp_path / '.lock', tmp_path / 'precious'
        precious.write_text('mine')

        def refused(what: str) -> None:
            with pytest.raises(ValueError, match=rf'\.lock: {what}, where a run writes'), folder_lock(tmp_path):
                pass

        for target in ('precious', 'nowhere'):
            lock.symlink_to(tmp_path / target)
            refused('a link')
            lock.unlink()
        os.mkfifo(lock)
        refused('a folder, a pipe or a device')
        lock.unlink()
        precious.rename(lock)
        refused('a file with other content')
        assert lock.read_text() == 'mine' and [path.name for path in tmp_path.iterdir()] == ['.lock']
        for left in ('', 'process 1 on it\n'):
            lock.write_text(left)
            with folder_lock(tmp_path):
                assert lock.read_text().startswith(f'process {os.getpid()} on ')

    def test_a_pipeline_leaves_a_file_called_lock_alone(self, tmp_path: Path) -> None:
        (tmp_path / 'lock').write_text('mine')
        Pipeline([], tmp_path).run([])
        assert (tmp_path / 'lock').read_text() == 'mine'


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_line_ends_marks_and_names(end: str, encoding: str, tmp_path: Path) -> None:
    root = tmp_path / 'my ünïcode föŀder'
    names = ('a b', 'é', '日本 語/写真')
    for name in names:
        (root / f'images/{name}.jpg').parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (16, 16)).save(root / f'images/{name}.jpg')
    (root / 'list.txt').write_bytes(end.join([names[0], f'{names[1]}.jpg', '', names[2]]).encode(encoding))
    rows = ['image,labels', f'{names[0]},cat', f'"{names[1]}.jpg","dog; cat"', f'{names[2]},']
    (root / 'labels.csv').write_bytes((end.join(rows) + end).encode(encoding))
    dataset = ImageLevelDataset(
        {'csv': 'labels.csv'}, 'list.txt', str(root), {'img_path': 'images'}, on_unlabelled='keep', metainfo=METAINFO
    )
    found = {info['img_id']: info['image_labels'].tolist() for info in dataset.load_data_list()}
    assert found == {names[0]: [0], names[1]: [0, 1], names[2]: []}


@pytest.mark.parametrize(('name', 'read'), [('labels.csv', read_csv), ('labels.json', read_json)])
def test_other_encodings_are_named(name: str, read: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / name
    for encoding in ('utf-16', 'latin-1'):
        path.write_bytes(
            '{"é": ["cat"]}'.encode(encoding) if name.endswith('json') else 'image,labels\né,cat\n'.encode(encoding)
        )
        with pytest.raises(ValueError, match=rf'{name}.*in UTF-8'):
            read(str(path), CLASSES)


def test_a_cell_of_many_megabytes(tmp_path: Path) -> None:
    (tmp_path / 'labels.csv').write_text('image,labels\na,"' + 'cat;' * 5_000_000 + '\n')
    with pytest.raises(ValueError, match=r'labels\.csv, line \d+: not CSV in UTF-8 \(field larger than field limit'):
        read_csv(str(tmp_path / 'labels.csv'), CLASSES)


def test_a_long_list_of_nothing_is_told_in_a_few_lines(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (16, 16)).save(tmp_path / 'images/a.jpg')
    (tmp_path / 'list.txt').write_text('a\n' + 'no_such_image\na\n' * 50_000)
    problems = Problems()
    images = read_list(str(tmp_path / 'list.txt'), ImageFolder(tmp_path / 'images'), problems)
    assert images == ['a.jpg'] and len(problems) == 10 and problems.more == 99_990
    assert problems[1].endswith("line 3: 'a' is already on line 1")
    with pytest.raises(ValueError, match=r'(?s)^a list: 100000 problems.*\.\.\. and 99990 more$'):
        raise_problems(problems, 'a list')


def test_names_that_are_not_text_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as those of an archive from a system with another encoding."""
    os.mkdir(os.fsencode(tmp_path) + b'/photos')
    Image.new('RGB', (16, 16)).save(tmp_path / 'photos/a.jpg')
    os.rename(os.fsencode(tmp_path / 'photos/a.jpg'), os.fsencode(tmp_path / 'photos') + b'/caf\xe9.jpg')
    assert main(['check', str(tmp_path / 'photos')]) == 0
    assert 'caf\\udce9.jpg' in capsys.readouterr().out
