"""The published augmentation, packing, and images of every kind on their way through mmseg's own loading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmseg.registry import TRANSFORMS
from PIL import Image

from sipe_mmseg.datasets.transforms import (
    PackImageLevelInputs,
    RandomCropOrPaste,
    RandomLongSideResize,
    RandomScaleResize,
    ScaleResize,
    TopLeftCropOrPaste,
)

Results = dict[str, Any]


@pytest.fixture(autouse=True)
def seed() -> None:
    np.random.seed(0)


def draw(height: int, width: int, mask: bool = False) -> Results:
    rng = np.random.default_rng(height * 1000 + width)
    results: Results = dict(img=rng.integers(256, size=(height, width, 3), dtype=np.uint8), seg_fields=[])
    results['img_shape'] = results['ori_shape'] = (height, width)
    if mask:
        results['gt_seg_map'] = rng.integers(21, size=(height, width), dtype=np.uint8)
        results['seg_fields'].append('gt_seg_map')
    return results


def bicubic(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


class TestRandomLongSideResize:
    def test_lengths_are_all_of_the_range_with_both_ends(self) -> None:
        resize = TRANSFORMS.build(dict(type='RandomLongSideResize', min_long=20, max_long=25))
        seen = [max(resize(draw(10, 13))['img'].shape) for _ in range(200)]
        assert set(seen) == set(range(20, 26))
        counts = np.bincount(seen)[20:]
        assert counts.min() > 15  # uniform: 33 each

    @pytest.mark.parametrize(('height', 'width'), [(37, 50), (50, 37), (40, 40), (500, 333), (3, 90)])
    @pytest.mark.parametrize('long', [24, 61, 640])
    def test_is_pils_bicubic_with_both_sides_rounded(self, height: int, width: int, long: int) -> None:
        before = draw(height, width)
        expected_size = (
            max(1, round(height * long / max(height, width))),
            max(1, round(width * long / max(height, width))),
        )
        found = RandomLongSideResize(long, long)(dict(before))
        assert found['img'].shape[:2] == found['img_shape'] == expected_size
        assert max(expected_size) == long
        np.testing.assert_array_equal(found['img'], bicubic(before['img'], expected_size[1], expected_size[0]))

    def test_halves_round_to_even(self) -> None:
        assert RandomLongSideResize(50, 50)(draw(100, 33))['img'].shape[:2] == (50, 16)  # 16.5
        assert RandomLongSideResize(50, 50)(draw(100, 35))['img'].shape[:2] == (50, 18)  # 17.5

    def test_masks_follow_without_new_values(self) -> None:
        before = draw(30, 20, mask=True)
        found = RandomLongSideResize(60, 60)(dict(before))
        assert found['gt_seg_map'].shape == found['img'].shape[:2] == (60, 40)
        np.testing.assert_array_equal(found['gt_seg_map'], before['gt_seg_map'].repeat(2, axis=0).repeat(2, axis=1))

    def test_published_range_is_the_default(self) -> None:
        assert (RandomLongSideResize().min_long, RandomLongSideResize().max_long) == (320, 640)

    @pytest.mark.parametrize(('low', 'high'), [(10, 9), (0, 5), (-3, 5)])
    def test_empty_range(self, low: int, high: int) -> None:
        with pytest.raises(ValueError, match=f'min_long={low} and max_long={high} are no range of lengths'):
            RandomLongSideResize(low, high)


class TestRandomScaleResize:
    def test_factors_are_uniform_over_the_range(self) -> None:
        resize = TRANSFORMS.build(dict(type='RandomScaleResize', min_scale=0.5, max_scale=1.5))
        seen = np.array([resize(draw(200, 30))['img'].shape[0] for _ in range(400)]) / 200
        assert (seen.min() >= 0.5, seen.max() <= 1.5) == (True, True)
        assert np.histogram(seen, bins=4, range=(0.5, 1.5))[0].min() > 60  # uniform: 100 each

    @pytest.mark.parametrize('factor', [0.5, 0.73, 1.37])
    def test_is_pils_bicubic_with_both_sides_rounded_and_masks_by_nearest(self, factor: float) -> None:
        before = draw(31, 45, mask=True)
        found = RandomScaleResize(factor, factor)(dict(before))
        size = round(45 * factor), round(31 * factor)
        np.testing.assert_array_equal(found['img'], bicubic(before['img'], *size))
        nearest = Image.fromarray(before['gt_seg_map']).resize(size, Image.Resampling.NEAREST)
        np.testing.assert_array_equal(found['gt_seg_map'], np.array(nearest))

    def test_published_range_is_the_default(self) -> None:
        assert (RandomScaleResize().min_scale, RandomScaleResize().max_scale) == (0.5, 1.5)

    @pytest.mark.parametrize(('low', 'high'), [(1.5, 0.5), (0, 1)])
    def test_empty_range(self, low: float, high: float) -> None:
        with pytest.raises(ValueError, match=f'min_scale={low} and max_scale={high} are no range of factors'):
            RandomScaleResize(low, high)


class TestScaleResize:
    @pytest.mark.parametrize(
        ('side', 'factor', 'expected'),
        [
            (211, 1.5, 316),
            (211, 0.5, 106),
            (213, 1.5, 320),
            (213, 0.5, 106),
            (333, 2.0, 666),
            (1, 0.25, 1),
            (500, 1.0, 500),
        ],
    )
    def test_halves_round_to_even(self, side: int, factor: float, expected: int) -> None:
        resize = TRANSFORMS.build(dict(type='ScaleResize', scale_factor=factor))
        other = {1.5: 60, 0.5: 20, 2.0: 80, 0.25: 10, 1.0: 40}[factor]
        assert resize(draw(side, 40))['img'].shape[:2] == (expected, other)
        assert resize(draw(40, side))['img'].shape[:2] == (other, expected)

    @pytest.mark.parametrize('factor', [0.5, 1.5, 2.0])
    def test_is_pils_bicubic(self, factor: float) -> None:
        before = draw(31, 45)
        found = ScaleResize(factor)(dict(before))['img']
        np.testing.assert_array_equal(found, bicubic(before['img'], found.shape[1], found.shape[0]))

    def test_factor_1_changes_nothing(self) -> None:
        before = draw(31, 45)
        np.testing.assert_array_equal(ScaleResize(1.0)(dict(before))['img'], before['img'])

    def test_the_images_own_size_stays_known(self) -> None:
        found = ScaleResize(0.5)(draw(30, 44))
        assert (found['ori_shape'], found['img_shape']) == ((30, 44), (15, 22))


class TestRandomCropOrPaste:
    @pytest.mark.parametrize(('height', 'width'), [(5, 6), (12, 14), (5, 14), (12, 6), (8, 10), (8, 3), (1, 1)])
    def test_image_inside_its_box_and_zero_around(self, height: int, width: int) -> None:
        transform = TRANSFORMS.build(dict(type='RandomCropOrPaste', crop_size=(8, 10)))
        for _ in range(50):
            before = draw(height, width, mask=True)
            before['img'] = before['img'] // 2 + 1  # no zero of its own
            found = transform(dict(before))
            top, bottom, left, right = found['valid_box'].tolist()
            assert found['img'].shape == (8, 10, 3)
            assert found['gt_seg_map'].shape == found['img_shape'] == (8, 10)
            assert (bottom - top, right - left) == (min(height, 8), min(width, 10))
            inside = np.zeros((8, 10), dtype=bool)
            inside[top:bottom, left:right] = True
            assert not found['img'][~inside].any()
            assert (found['gt_seg_map'][~inside] == 255).all()
            part, mask = found['img'][top:bottom, left:right], found['gt_seg_map'][top:bottom, left:right]
            places = [
                (y, x)
                for y in range(max(height - 8, 0) + 1)
                for x in range(max(width - 10, 0) + 1)
                if np.array_equal(before['img'][y : y + bottom - top, x : x + right - left], part)
            ]
            assert len(places) >= 1
            assert any(
                np.array_equal(before['gt_seg_map'][y : y + bottom - top, x : x + right - left], mask)
                for y, x in places
            )

    @pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.int64])
    @pytest.mark.parametrize('shape', [(7, 9, 3), (7, 9, 1), (12, 9), (3, 1, 3)])
    def test_mirrored_view_is_what_its_copy_is(self, shape: tuple, dtype: type) -> None:
        image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
        view = np.flip(image, axis=1)
        found = []
        for source in (view, view.copy()):
            np.random.seed(3)
            found.append(RandomCropOrPaste((8, 10))(dict(img=source))['img'])
        assert found[0].any()
        np.testing.assert_array_equal(*found)

    def test_offsets_cover_everything_evenly(self) -> None:
        transform = RandomCropOrPaste((8, 10))
        image = np.arange(1, 12 * 6 + 1, dtype=np.uint8).reshape(12, 6, 1).repeat(3, axis=2)
        counts: dict[tuple[int, int], int] = {}
        for _ in range(1000):
            found = transform(dict(img=image))
            _, _, left, _ = found['valid_box'].tolist()
            row = (int(found['img'][0, left, 0]) - 1) // 6  # the image's row that the crop begins with
            counts[row, left] = counts.get((row, left), 0) + 1
        assert set(counts) == {(row, left) for row in range(5) for left in range(5)}
        assert min(counts.values()) > 15  # uniform: 40 each

    def test_box_is_an_int64_array(self) -> None:
        found = RandomCropOrPaste(8)(draw(8, 8))['valid_box']
        assert (found.dtype, found.tolist()) == (np.int64, [0, 8, 0, 8])

    def test_one_number_is_a_square(self) -> None:
        assert RandomCropOrPaste(16)(draw(5, 40))['img'].shape == (16, 16, 3)

    def test_the_published_size_is_the_default(self) -> None:
        assert RandomCropOrPaste().crop_size == (512, 512)

    def test_other_void(self) -> None:
        found = RandomCropOrPaste(16, seg_pad_val=0)(draw(8, 8, mask=True))
        assert (found['gt_seg_map'] == 0).sum() >= 16 * 16 - 8 * 8

    def test_the_image_itself_is_not_written_to(self) -> None:
        before = draw(20, 20)
        image = before['img'].copy()
        found = RandomCropOrPaste(8)(dict(before))
        found['img'][:] = 0
        np.testing.assert_array_equal(before['img'], image)


class TestTopLeftCropOrPaste:
    @pytest.mark.parametrize(('height', 'width'), [(5, 6), (12, 14), (5, 14), (12, 6), (8, 10)])
    def test_image_begins_at_the_top_left_corner_and_zero_is_behind_it(self, height: int, width: int) -> None:
        transform = TRANSFORMS.build(dict(type='TopLeftCropOrPaste', crop_size=(8, 10)))
        before = draw(height, width, mask=True)
        found = transform(dict(before))
        image, mask = np.zeros((8, 10, 3), np.uint8), np.full((8, 10), 255, np.uint8)
        rows, columns = min(height, 8), min(width, 10)
        image[:rows, :columns] = before['img'][:rows, :columns]
        mask[:rows, :columns] = before['gt_seg_map'][:rows, :columns]
        np.testing.assert_array_equal(found['img'], image)
        np.testing.assert_array_equal(found['gt_seg_map'], mask)
        assert found['valid_box'].tolist() == [0, rows, 0, columns]

    def test_the_published_size_is_the_default(self) -> None:
        assert TopLeftCropOrPaste().crop_size == (512, 512)


class TestPackImageLevelInputs:
    def pack(self, **more: Any) -> dict[str, Any]:
        return TRANSFORMS.build(dict(type='PackImageLevelInputs'))(dict(draw(4, 6), **more))

    @pytest.mark.parametrize('labels', [[0, 2], [], [0, 1, 2, 3], [3]])
    def test_labels_are_data(self, labels: list[int]) -> None:
        sample = self.pack(image_labels=np.array(labels, dtype=np.int64), num_classes=5)['data_samples']
        found = sample.image_labels.multi_hot
        assert (found.dtype, found.tolist()) == (torch.float32, [float(k in labels) for k in range(4)])
        assert 'image_labels' not in sample.metainfo
        assert sample.to('meta').image_labels.multi_hot.is_meta  # moves along to the device

    def test_box_is_data(self) -> None:
        sample = self.pack(valid_box=np.array([0, 4, 1, 6]))['data_samples']
        assert (sample.valid_box.dtype, sample.valid_box.tolist()) == (torch.int64, [0, 4, 1, 6])
        assert sample.to('meta').valid_box.is_meta

    def test_nothing_is_made_up(self) -> None:
        sample = self.pack()['data_samples']
        assert {'image_labels', 'valid_box', 'gt_sem_seg'}.isdisjoint(sample.keys())

    def test_image_mask_and_metadata(self) -> None:
        results = dict(draw(4, 6, mask=True), img_path='a.jpg', img_id='a', seg_map_path='a.png', flip=True)
        packed = PackImageLevelInputs()(dict(results))
        np.testing.assert_array_equal(packed['inputs'].permute(1, 2, 0).numpy(), results['img'])
        sample = packed['data_samples']
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), results['gt_seg_map'])
        expected = dict(
            img_path='a.jpg', img_id='a', seg_map_path='a.png', flip=True, ori_shape=(4, 6), img_shape=(4, 6)
        )
        assert {key: sample.metainfo[key] for key in expected} == expected

    def test_cropped_image_is_packed_without_a_copy(self) -> None:
        image = draw(8, 10)['img']
        plain = self.pack(img=image)['inputs']
        found = self.pack(img=image, valid_box=np.array([0, 8, 0, 10]))['inputs']
        assert torch.equal(found, plain)
        assert np.shares_memory(found.numpy(), image)
        assert torch.equal(self.pack(img=np.flip(image, 1), valid_box=np.array([0, 8, 0, 10]))['inputs'], plain.flip(2))

    def test_meta_keys_can_be_chosen(self) -> None:
        sample = PackImageLevelInputs(meta_keys=('img_id',))(dict(draw(4, 6), img_id='a'))['data_samples']
        assert sample.metainfo == dict(img_id='a')


class TestTrainingPipeline:
    def test_flip_and_crop_keep_image_mask_and_box_together(self) -> None:
        pipeline = Compose(
            [
                dict(type='RandomLongSideResize', min_long=20, max_long=60),
                dict(type='RandomFlip', prob=0.5),
                dict(type='RandomCropOrPaste', crop_size=(32, 32)),
                dict(type='PackImageLevelInputs'),
            ]
        )
        flips = set()
        for _ in range(40):
            # Left half dark and of class 1, right half bright and of class 2: the mask must follow the image.
            image = np.zeros((40, 30, 3), dtype=np.uint8)
            image[:, :15], image[:, 15:] = 60, 200
            mask = np.where(image[..., 0] > 100, 2, 1).astype(np.uint8)
            packed = pipeline(
                dict(
                    img=image,
                    gt_seg_map=mask,
                    seg_fields=['gt_seg_map'],
                    img_shape=(40, 30),
                    ori_shape=(40, 30),
                    image_labels=np.array([0, 1]),
                    num_classes=3,
                )
            )
            sample, found = packed['data_samples'], packed['inputs'][0]
            truth = sample.gt_sem_seg.data[0]
            flips.add(sample.metainfo['flip'])
            top, bottom, left, right = sample.valid_box.tolist()
            inside = torch.zeros(32, 32, dtype=torch.bool)
            inside[top:bottom, left:right] = True
            assert torch.equal(truth == 255, ~inside)
            assert torch.equal(found == 0, ~inside)
            # Bicubic blurs the edge: the columns next to it may be either.
            assert ((found[inside] > 130) == (truth[inside] == 2)).float().mean() > 0.9
        assert flips == {True, False}


def load(path: Path) -> np.ndarray:
    """mmseg's loading with the configs' settings: BGR uint8."""
    return Compose([dict(type='LoadImageFromFile')])(dict(img_path=str(path)))['img']


class TestKindsOfImages:
    """Every kind is used as its 8-bit RGB counterpart."""

    @pytest.fixture
    def rgb(self) -> np.ndarray:
        return np.random.default_rng(0).integers(256, size=(18, 21, 3), dtype=np.uint8)

    def assert_loaded(self, path: Path, rgb: np.ndarray) -> None:
        found = load(path)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, rgb[..., ::-1])

    def test_rgb(self, tmp_path: Path, rgb: np.ndarray) -> None:
        Image.fromarray(rgb).save(tmp_path / 'image.png')
        self.assert_loaded(tmp_path / 'image.png', rgb)

    def test_rgba_without_its_alpha(self, tmp_path: Path, rgb: np.ndarray) -> None:
        alpha = np.random.default_rng(1).integers(256, size=(18, 21, 1), dtype=np.uint8)
        Image.fromarray(np.concatenate([rgb, alpha], axis=2)).save(tmp_path / 'image.png')
        self.assert_loaded(tmp_path / 'image.png', rgb)

    @pytest.mark.parametrize('suffix', ['png', 'tif', 'bmp'])
    def test_greyscale(self, tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
        grey = rgb[..., 0]
        Image.fromarray(grey).save(tmp_path / f'image.{suffix}')
        self.assert_loaded(tmp_path / f'image.{suffix}', grey[..., None].repeat(3, axis=2))

    def test_greyscale_with_alpha(self, tmp_path: Path, rgb: np.ndarray) -> None:
        Image.fromarray(rgb[..., :2].copy(), mode='LA').save(tmp_path / 'image.png')
        self.assert_loaded(tmp_path / 'image.png', rgb[..., :1].repeat(3, axis=2))

    def test_palette(self, tmp_path: Path) -> None:
        indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
        image = Image.fromarray(indices)
        image.putpalette([value for index in range(12) for value in (index * 20, 255 - index, index)])
        image.save(tmp_path / 'image.png')
        self.assert_loaded(tmp_path / 'image.png', np.array(image.convert('RGB')))

    def test_16_bit_rgb(self, tmp_path: Path, rgb: np.ndarray) -> None:
        cv2.imwrite(str(tmp_path / 'image.png'), rgb[..., ::-1].astype(np.uint16) * 257)
        self.assert_loaded(tmp_path / 'image.png', rgb)

    @pytest.mark.parametrize('suffix', ['png', 'tif'])
    def test_16_bit_greyscale(self, tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
        grey = rgb[..., 0]
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f'image.{suffix}')
        self.assert_loaded(tmp_path / f'image.{suffix}', grey[..., None].repeat(3, axis=2))

    @pytest.mark.parametrize(('mode', 'channels'), [('L', [0]), ('RGBA', [0, 1, 2, 0])])
    def test_goes_through_the_whole_pipeline(
        self, tmp_path: Path, rgb: np.ndarray, mode: str, channels: Sequence[int]
    ) -> None:
        Image.fromarray(rgb[..., channels].squeeze()).save(tmp_path / 'image.png')
        pipeline = Compose(
            [
                dict(type='LoadImageFromFile'),
                dict(type='RandomLongSideResize', min_long=20, max_long=40),
                dict(type='RandomFlip', prob=0.5),
                dict(type='RandomCropOrPaste', crop_size=(32, 32)),
                dict(type='PackImageLevelInputs'),
            ]
        )
        packed = pipeline(
            dict(img_path=str(tmp_path / 'image.png'), image_labels=np.array([1]), num_classes=3, seg_fields=[])
        )
        with Image.open(tmp_path / 'image.png') as image:
            assert image.mode == mode
        assert (packed['inputs'].shape, packed['inputs'].dtype) == ((3, 32, 32), torch.uint8)


class TestLoadScoringMask:
    def test_loads_what_mmseg_loads(self, tmp_path: Path) -> None:
        mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
        Image.fromarray(mask).save(tmp_path / 'mask.png')
        sample = dict(seg_map_path=str(tmp_path / 'mask.png'), label_map=None, reduce_zero_label=False, seg_fields=[])
        loaded = TRANSFORMS.build(dict(type='LoadScoringMask'))(sample)
        np.testing.assert_array_equal(loaded['gt_seg_map'], mask)

    def test_without_a_mask_nothing_is_loaded(self) -> None:
        assert TRANSFORMS.build(dict(type='LoadScoringMask'))(dict(img_id='a')) == dict(img_id='a')
