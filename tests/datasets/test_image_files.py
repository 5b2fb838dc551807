import threading
import time

import mmcv
import numpy as np
import pytest
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets import image_files
from sipe_mmseg.datasets.image_files import (
    ImageFolder,
    check_samples,
    image_size,
    raise_problems,
    read_rgb,
    sample_problem,
)


def save_image(path, width=40, height=30, mode='RGB', **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return str(path)


def save_mask(path, width=40, height=30, mode='L'):
    Image.new(mode, (width, height)).save(path)
    return str(path)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


class TestImageFolder:
    def test_lists_images_once_in_and_below_the_folder(self, tmp_path):
        for name in ('b.jpg', 'a.PNG', 'sub/deep/c.jpeg', 'notes.txt', '.hidden.jpg', '.cache/d.jpg', 'e.xml'):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert ImageFolder(tmp_path).paths == ['a.PNG', 'b.jpg', 'sub/deep/c.jpeg']
        assert ImageFolder(tmp_path, '.jpg').paths == ['b.jpg']

    def test_finds_by_id_name_or_path(self, tmp_path):
        for name in ('a.v2.jpg', 'sub/a.jpg', 'x.jpg', 'x.png'):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        folder = ImageFolder(tmp_path)
        for key in ('a.v2', 'a.v2.jpg', './a.v2.jpg'):
            assert folder.find(key, 'here') == 'a.v2.jpg'
        for key in ('sub/a', 'sub/a.jpg', 'sub\\a.jpg'):
            assert folder.find(key, 'here') == 'sub/a.jpg'
        assert folder.find('a', 'here') is None
        assert folder.find('x.png', 'here') == 'x.png'
        with pytest.raises(ValueError, match=r"list\.txt, line 3: 'x' may be x\.jpg or x\.png in .*; write the suffix"):
            folder.find('x', 'list.txt, line 3')

    def test_suffix_is_what_is_left_out_of_the_id(self, tmp_path):
        (tmp_path / 'a_rgb.png').touch()
        (tmp_path / 'a_depth.png').touch()
        folder = ImageFolder(tmp_path, '_rgb.png')
        assert folder.paths == ['a_rgb.png']
        assert folder.image_id('a_rgb.png') == 'a'
        assert folder.find('a', 'here') == 'a_rgb.png'

    def test_follows_links(self, tmp_path):
        (tmp_path / 'real').mkdir()
        (tmp_path / 'real' / 'a.jpg').touch()
        (tmp_path / 'images').mkdir()
        (tmp_path / 'images' / 'linked').symlink_to(tmp_path / 'real')
        assert ImageFolder(tmp_path / 'images').paths == ['linked/a.jpg']

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='JPEGImages: no such folder'):
            ImageFolder(tmp_path / 'JPEGImages')


class TestSampleProblem:
    @pytest.mark.parametrize(
        ('name', 'mode'),
        [
            ('a.jpg', 'RGB'),
            ('a.jpg', 'L'),
            ('a.jpg', 'CMYK'),
            ('a.png', 'RGBA'),
            ('a.png', 'LA'),
            ('a.png', 'I;16'),
            ('a.bmp', 'RGB'),
            ('a.webp', 'RGB'),
            ('a.tif', 'RGB'),
        ],
    )
    def test_sound_images(self, tmp_path, name, mode):
        path = tmp_path / name
        if mode == 'I;16':
            Image.fromarray(np.zeros((30, 40), dtype=np.uint16)).save(path)
        else:
            save_image(path, mode=mode)
        assert sample_problem(str(path)) is None

    def test_missing(self, tmp_path):
        assert sample_problem(str(tmp_path / 'a.jpg')) == f'{tmp_path}/a.jpg: no such image'

    def test_not_an_image(self, tmp_path):
        (tmp_path / 'a.jpg').write_text('<html>404</html>')
        assert f'{tmp_path}/a.jpg: not a readable image' in sample_problem(str(tmp_path / 'a.jpg'))
        (tmp_path / 'b.jpg').touch()
        assert f'{tmp_path}/b.jpg: not a readable image' in sample_problem(str(tmp_path / 'b.jpg'))

    @pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp', 'a.tif'])
    @pytest.mark.parametrize('kept', [0.5, 0.95])
    def test_truncated(self, tmp_path, name, kept):
        path = save_image(tmp_path / name, 200, 100)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(kept * len(content))])
        assert f'{path}: not a readable image' in sample_problem(path)

    @pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
    @pytest.mark.parametrize('size', [10, 10000])
    def test_bytes_after_the_end_do_no_harm(self, tmp_path, name, size):
        path = save_image(tmp_path / name)
        with open(path, 'ab') as file:
            file.write(bytes(size))
        assert sample_problem(path) is None

    def test_smallest_size(self, tmp_path):
        assert sample_problem(save_image(tmp_path / 'a.png', 16, 16)) is None
        path = save_image(tmp_path / 'b.png', 15, 100)
        assert sample_problem(path) == f'{path}: 15x100 pixels, but both sides must have at least 16'
        path = save_image(tmp_path / 'c.png', 100, 15)
        assert sample_problem(path) == f'{path}: 100x15 pixels, but both sides must have at least 16'
        assert sample_problem(path, min_side=15) is None

    @pytest.mark.parametrize('mode', ['P', 'L'])
    def test_mask_fits(self, tmp_path, mode):
        mask = save_mask(tmp_path / 'm.png', mode=mode)
        assert sample_problem(save_image(tmp_path / 'a.jpg'), mask) is None

    def test_mask_of_another_size(self, tmp_path):
        image, mask = save_image(tmp_path / 'a.jpg'), save_mask(tmp_path / 'm.png', 41, 30)
        assert sample_problem(image, mask) == f'{mask}: 41x30 pixels, but its image {image} has 40x30'

    @pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
    def test_mask_has_the_size_of_the_turned_image(self, tmp_path, name):
        image = save_image(tmp_path / name, 40, 30, exif=exif(6))
        upright = save_mask(tmp_path / 'upright.png', 30, 40)
        assert sample_problem(image, upright) is None
        as_stored = save_mask(tmp_path / 'stored.png', 40, 30)
        assert 'stored.png: 40x30 pixels, but its image' in sample_problem(image, as_stored)
        image = save_image(tmp_path / f'upside_down_{name}', 40, 30, exif=exif(3))
        assert sample_problem(image, as_stored) is None

    @pytest.mark.parametrize('orientation', range(1, 9))
    @pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
    def test_size_is_that_of_the_loaded_image(self, tmp_path, name, orientation):
        image = save_image(tmp_path / name, 40, 30, exif=exif(orientation))
        height, width = mmcv.imread(image).shape[:2]
        assert image_size(image) == (width, height)

    def test_mask_of_colours(self, tmp_path):
        image, mask = save_image(tmp_path / 'a.jpg'), save_mask(tmp_path / 'm.png', mode='RGB')
        assert sample_problem(image, mask) == (
            f'{mask}: a mask holds class indices (a palette or 8-bit greyscale image), but this has mode RGB'
        )

    def test_mask_of_unknown_classes(self, tmp_path):
        image = save_image(tmp_path / 'a.jpg')
        path = tmp_path / 'm.png'
        pixels = np.zeros((30, 40), dtype=np.uint8)
        pixels[0, :3] = 4, 255, 7
        for mode in ('L', 'P'):
            mask = Image.fromarray(pixels, mode)
            if mode == 'P':
                mask.putpalette(list(range(256)) * 3)
            mask.save(path)
            assert sample_problem(image, str(path), num_classes=8) is None
            assert sample_problem(image, str(path), num_classes=5) == (
                f'{path}: has the value 7, but classes are 0 to 4, and 255 is unknown'
            )
        assert check_samples([(image, str(path))], num_classes=5) == [sample_problem(image, str(path), num_classes=5)]

    @pytest.mark.parametrize('kept', [0.3, 0.9])
    def test_truncated_mask(self, tmp_path, kept):
        image, path = save_image(tmp_path / 'a.jpg', 200, 100), tmp_path / 'm.png'
        Image.fromarray(np.random.default_rng(0).integers(0, 5, (100, 200), dtype=np.uint8)).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        assert f'{path}: not a readable mask' in sample_problem(image, str(path))

    def test_mask_missing_or_unreadable(self, tmp_path):
        image, mask = save_image(tmp_path / 'a.jpg'), tmp_path / 'm.png'
        assert sample_problem(image, str(mask)) == f'{mask}: no such mask (of {image})'
        mask.write_bytes(b'no image')
        assert f'{mask}: not a readable mask' in sample_problem(image, str(mask))


@pytest.mark.parametrize('workers', [1, 8])
def test_check_samples_reports_all_problems_in_order(tmp_path, workers):
    sound = save_image(tmp_path / 'a.png')
    samples = [(sound, None)] * 150 + [(str(tmp_path / 'x.jpg'), None)] + [(sound, None)] * 99
    samples += [(sound, str(tmp_path / 'm.png'))]
    assert check_samples(samples, workers=workers) == [
        f'{tmp_path}/x.jpg: no such image',
        f'{tmp_path}/m.png: no such mask (of {sound})',
    ]
    assert check_samples([]) == []


def test_samples_on_a_slow_disk_are_waited_for_together(monkeypatch):
    threads = set()

    def waiting(path, mask, **_):
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return path if int(path) % 100 == 0 else None

    monkeypatch.setattr(image_files, 'sample_problem', waiting)
    samples = [(str(number), None) for number in range(1000)]
    assert check_samples(samples, workers=4) == [str(number) for number in range(0, 1000, 100)]
    assert len(threads) > 1

    threads.clear()
    monkeypatch.setattr(image_files, '_MOSTLY_WAITING', float('inf'))  # as files that are in memory
    assert len(check_samples(samples, workers=4)) == 10
    assert threads == {threading.get_ident()}


def test_raise_problems_counts_all_and_shows_ten():
    raise_problems([], 'data')
    with pytest.raises(ValueError) as caught:
        raise_problems([f'problem number {i}' for i in range(12)], 'data')
    assert str(caught.value).splitlines() == [
        'data: 12 problems',
        *(f'  problem number {i}' for i in range(10)),
        '  ... and 2 more',
    ]
    with pytest.raises(ValueError, match=r'^data: 1 problem\n  only one$'):
        raise_problems(['only one'], 'data')


class TestReadRGB:
    def test_pixels_are_those_of_the_turned_image(self, tmp_path):
        path = save_image(tmp_path / 'a.png', 40, 30)
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_rgb(path), np.asarray(image))
        turned = read_rgb(save_image(tmp_path / 'turned.png', 40, 30, exif=exif(6)))
        assert turned.shape == (40, 30, 3)
        np.testing.assert_array_equal(turned, mmcv.imread(str(tmp_path / 'turned.png'), channel_order='rgb'))
        assert turned.flags.c_contiguous

    def test_what_cannot_be_read(self, tmp_path):
        (tmp_path / 'a.jpg').write_bytes(b'no picture')
        with pytest.raises(ValueError, match=r'a\.jpg: not a readable image$'):
            read_rgb(str(tmp_path / 'a.jpg'))
        with pytest.raises(FileNotFoundError, match=r'b\.jpg'):
            read_rgb(str(tmp_path / 'b.jpg'))
