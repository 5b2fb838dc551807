"""Transforms of the published recipe that mmseg does not have, and the packing of image-level labels."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from mmcv.transforms import BaseTransform, Resize
from mmengine.structures import LabelData
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS


class _BicubicResize(BaseTransform):
    """Resize to (width, height) by PIL's bicubic, label maps by nearest neighbour, through mmcv's ``Resize``."""

    def _resize(self, results: dict[str, Any], width: int, height: int) -> dict[str, Any]:
        resize = Resize((width, height), keep_ratio=False, backend='pillow', interpolation='bicubic')
        resized: dict[str, Any] = resize(results)
        return resized


@TRANSFORMS.register_module()
class RandomLongSideResize(_BicubicResize):
    """Resize so that the longer side has a random length, aspect ratio kept, each side rounded (SIPE, section 4.1).

    Args:
        min_long: Shortest length of the longer side in pixels.
        max_long: Longest length, included. 320 to 640 are the published values.

    Raises:
        ValueError: If the range is empty.
    """

    def __init__(self, min_long: int = 320, max_long: int = 640) -> None:
        if not 0 < min_long <= max_long:
            raise ValueError(
                f'RandomLongSideResize: min_long={min_long} and max_long={max_long} are no range of lengths'
            )
        self.min_long = min_long
        self.max_long = max_long

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize ``img`` and the label maps, if any."""
        height, width = results['img'].shape[:2]
        scale = np.random.randint(self.min_long, self.max_long + 1) / max(height, width)
        return self._resize(results, _rounded(width * scale), _rounded(height * scale))


@TRANSFORMS.register_module()
class RandomScaleResize(_BicubicResize):
    """Resize by a random factor, each side rounded (published training of IRN).

    Args:
        min_scale: Smallest factor of both sides.
        max_scale: Largest factor. 0.5 to 1.5 are the published values.

    Raises:
        ValueError: If the range is empty.
    """

    def __init__(self, min_scale: float = 0.5, max_scale: float = 1.5) -> None:
        if not 0 < min_scale <= max_scale:
            raise ValueError(
                f'RandomScaleResize: min_scale={min_scale} and max_scale={max_scale} are no range of factors'
            )
        self.min_scale = min_scale
        self.max_scale = max_scale

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize ``img`` and the label maps, if any."""
        height, width = results['img'].shape[:2]
        scale = np.random.uniform(self.min_scale, self.max_scale)
        return self._resize(results, _rounded(width * scale), _rounded(height * scale))


@TRANSFORMS.register_module()
class ScaleResize(_BicubicResize):
    """Resize by a factor, each side rounded to even halves as ``numpy.round`` does (published inference).

    mmcv's ``Resize(scale_factor=...)`` rounds halves up and so gives another size for some images.

    Args:
        scale_factor: Factor of both sides.
    """

    def __init__(self, scale_factor: float) -> None:
        self.scale_factor = scale_factor

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize ``img``; at factor 1 it stays as it is."""
        height, width = results['img'].shape[:2]
        return self._resize(results, _rounded(width * self.scale_factor), _rounded(height * self.scale_factor))


@TRANSFORMS.register_module()
class RandomCropOrPaste(BaseTransform):
    """Crop a larger side at a random place, paste a smaller one at a random offset (published loader of SIPE).

    Adds ``valid_box``, the int64 array [top, bottom, left, right] of the image inside the crop, end exclusive. The
    canvas around it is 0; :class:`~sipe_mmseg.models.ImageLevelDataPreProcessor` makes it 0 after normalising.

    Args:
        crop_size: Side of the crop in pixels or (height, width).
        seg_pad_val: Value of label maps, if any, outside the image.
    """

    def __init__(self, crop_size: int | Sequence[int] = (512, 512), seg_pad_val: int = 255) -> None:
        self.crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        self.seg_pad_val = seg_pad_val

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop or paste ``img`` and the label maps, if any."""
        image = results['img']
        targets, sources = [], []
        for side, crop in zip(image.shape[:2], self.crop_size, strict=True):
            free = self._offset(abs(side - crop))
            extent = min(side, crop)
            paste, cut = (free, 0) if side < crop else (0, free)
            targets.append(slice(paste, paste + extent))
            sources.append(slice(cut, cut + extent))
        for key in ('img', *results.get('seg_fields', ())):
            source = _laid_out(results[key])
            canvas = np.full(
                (*self.crop_size, *source.shape[2:]), 0 if key == 'img' else self.seg_pad_val, source.dtype
            )
            canvas[tuple(targets)] = source[tuple(sources)]
            results[key] = canvas
        results['img_shape'] = self.crop_size
        results['valid_box'] = np.array(
            [targets[0].start, targets[0].stop, targets[1].start, targets[1].stop], dtype=np.int64
        )
        return results

    def _offset(self, room: int) -> int:
        """Where a side begins of which ``room`` pixels are left over, or missing."""
        return np.random.randint(room + 1)


@TRANSFORMS.register_module()
class TopLeftCropOrPaste(RandomCropOrPaste):
    """As :class:`RandomCropOrPaste`, always at the top left corner (what IRN's mean displacement is measured on)."""

    def _offset(self, room: int) -> int:
        return 0


@TRANSFORMS.register_module()
class LoadScoringMask(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` where the data set has masks (``data_prefix.seg_map_path``); else nothing is loaded.

    One pipeline then serves for scoring and for predicting images without masks. The arguments are those of
    ``LoadAnnotations``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load ``gt_seg_map`` if the sample names a mask."""
        return super().transform(results) if 'seg_map_path' in results else results


@TRANSFORMS.register_module()
class PackImageLevelInputs(PackSegInputs):
    """mmseg's ``PackSegInputs``, and image-level labels and ``valid_box`` as data, so that they move to the GPU.

    The sample gets ``image_labels.multi_hot``, float32 (K,), where the data set knows labels; ``valid_box``, int64
    (4,), where the pipeline cropped or pasted; and ``cam`` with ``classes`` (n,) and ``is_cam`` (n + 1, h, w) where it
    has ``LoadCAM``.

    A cropped or pasted image keeps its layout (H, W, 3) in memory: ``inputs`` is a view of it, and the models bring
    whole batches into the layout they work in.

    Args:
        meta_keys: What is packed as metadata.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_path',
            'img_id',
            'seg_map_path',
            'ori_shape',
            'img_shape',
            'pad_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'reduce_zero_label',
        ),
    ) -> None:
        super().__init__(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack ``img``, label maps, image-level labels and metadata."""
        if 'valid_box' in results and results['img'].ndim == 3:
            packed: dict[str, Any] = super().transform({key: value for key, value in results.items() if key != 'img'})
            packed['inputs'] = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)
        else:
            packed = super().transform(results)
        sample = packed['data_samples']
        if 'image_labels' in results:
            multi_hot = torch.zeros(results['num_classes'] - 1)
            multi_hot[torch.as_tensor(results['image_labels'], dtype=torch.long)] = 1
            sample.set_data(dict(image_labels=LabelData(multi_hot=multi_hot)))
        if 'valid_box' in results:
            sample.set_data(dict(valid_box=torch.from_numpy(results['valid_box'])))
        if 'is_cam' in results:
            sample.set_data(dict(cam=LabelData(classes=results['cam_classes'], is_cam=results['is_cam'])))
        return packed


def _laid_out(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The image, turned around in memory if it is a mirrored view: NumPy copies one of those a byte at a time."""
    mirrored = image.dtype == np.uint8 and image.strides[1] < 0
    return cv2.flip(image[:, ::-1], 1).reshape(image.shape) if mirrored else image


def _rounded(side: float) -> int:
    return max(1, int(np.round(side)))
