from collections.abc import Callable

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
Sample = Callable[..., SegDataSample]


@pytest.fixture
def preprocessor() -> nn.Module:
    return MODELS.build(
        dict(
            type='ImageLevelDataPreProcessor',
            mean=MEAN,
            std=STD,
            bgr_to_rgb=True,
            pad_val=0,
            seg_pad_val=255,
            size=(32, 48),
        )
    )


def draw(height: int, width: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.randint(256, (3, height, width), dtype=torch.uint8)


def normalised(image: Tensor) -> Tensor:
    """From BGR bytes."""
    rgb = image.flip(0).double()
    return torch.stack([(plane - m) / s for plane, m, s in zip(rgb, MEAN, STD, strict=True)]).float()


def test_zero_outside_the_box_after_normalising(preprocessor: nn.Module, make_sample: Sample) -> None:
    images = [draw(32, 48), draw(32, 48, 1), draw(32, 48, 2)]
    boxes = [[3, 30, 0, 17], [0, 32, 0, 48], [31, 32, 47, 48]]
    samples = [make_sample([1], (32, 48), box) for box in boxes]
    found = preprocessor(dict(inputs=images, data_samples=samples), True)
    assert found['inputs'].shape == (3, 3, 32, 48)
    for image, (top, bottom, left, right), result in zip(images, boxes, found['inputs'], strict=True):
        expected = torch.zeros(3, 32, 48)
        expected[:, top:bottom, left:right] = normalised(image)[:, top:bottom, left:right]
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    assert [sample.valid_box.tolist() for sample in found['data_samples']] == boxes


def test_without_a_box_the_whole_image_is_valid(preprocessor: nn.Module, make_sample: Sample) -> None:
    """Smaller images are padded to the right and below, as mmseg does it; the padding is outside their box."""
    images = [draw(20, 48), draw(32, 31, 1)]
    found = preprocessor(
        dict(inputs=images, data_samples=[make_sample([1], (20, 48)), make_sample([1], (32, 31))]), True
    )
    assert [sample.valid_box.tolist() for sample in found['data_samples']] == [[0, 20, 0, 48], [0, 32, 0, 31]]
    for image, result in zip(images, found['inputs'], strict=True):
        expected = torch.zeros(3, 32, 48)
        expected[:, : image.shape[1], : image.shape[2]] = normalised(image)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_padding_value_of_the_config_does_not_leak(make_sample: Sample) -> None:
    preprocessor = MODELS.build(
        dict(type='ImageLevelDataPreProcessor', mean=MEAN, std=STD, pad_val=7, seg_pad_val=255, size=(32, 48))
    )
    found = preprocessor(dict(inputs=[draw(16, 16)], data_samples=[make_sample([1], (16, 16))]), True)['inputs'][0]
    assert not found[:, 16:].any()
    assert not found[:, :, 16:].any()


def test_images_at_test_time_are_only_normalised(preprocessor: nn.Module, make_sample: Sample) -> None:
    image = draw(21, 37)
    found = preprocessor(dict(inputs=[image], data_samples=[make_sample([1], (21, 37))]), False)
    torch.testing.assert_close(found['inputs'][0], normalised(image), rtol=0, atol=1e-6)
    assert 'valid_box' not in found['data_samples'][0]
    assert preprocessor(dict(inputs=[image]), False)['data_samples'] is None


def test_the_images_of_the_caller_are_left_alone(preprocessor: nn.Module, make_sample: Sample) -> None:
    for image in (draw(32, 48), draw(32, 48).float()):
        before = image.clone()
        preprocessor(dict(inputs=[image], data_samples=[make_sample([1], (32, 48), [9, 12, 9, 12])]), True)
        assert torch.equal(image, before)


def test_masks_are_padded_with_void(preprocessor: nn.Module, make_sample: Sample) -> None:
    sample = make_sample([1], (20, 30))
    sample.gt_sem_seg = PixelData(data=torch.ones(1, 20, 30, dtype=torch.int64))
    found = preprocessor(dict(inputs=[draw(20, 30)], data_samples=[sample]), True)
    expected = torch.full((1, 32, 48), 255)
    expected[:, :20, :30] = 1
    assert torch.equal(found['data_samples'][0].gt_sem_seg.data, expected)


def test_labels_and_boxes_move_with_the_batch(make_sample: Sample) -> None:
    """They are data and not metadata: ``cast_data`` finds them (shown with the device that allocates nothing)."""
    preprocessor = MODELS.build(dict(type='ImageLevelDataPreProcessor', mean=MEAN, std=STD)).to('meta')
    sample = preprocessor.cast_data([make_sample([1, 0], (16, 16), [0, 16, 0, 16])])[0]
    assert sample.image_labels.multi_hot.is_meta
    assert sample.valid_box.is_meta


def test_crops_of_another_size_are_not_padded_unnoticed(preprocessor: nn.Module, make_sample: Sample) -> None:
    sample = make_sample([1], (16, 16), [0, 16, 0, 16])
    with pytest.raises(ValueError, match=r'crops of \(16, 16\), but data_preprocessor.size is \(32, 48\)'):
        preprocessor(dict(inputs=[draw(16, 16)], data_samples=[sample]), True)
