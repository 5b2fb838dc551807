"""Dense CRF over the pixels of an image (Krähenbühl and Koltun, NeurIPS 2011), and the labels that SIPE makes with it.

Computed by pydensecrf2, the extra ``crf``.
"""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from .foreground import held_back_by_background
from .label_values import IGNORE_INDEX


def dense_crf(
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    num_labels: int,
    *,
    gt_prob: float = 0.7,
    gaussian_sxy: float = 3,
    gaussian_compat: float = 3,
    bilateral_sxy: float = 50,
    bilateral_srgb: float = 5,
    bilateral_compat: float = 10,
    iterations: int = 10,
) -> npt.NDArray[Any]:
    """Fit a label map to the edges of its image. The defaults are the published code's of SIPE and IRN.

    Every pixel starts with ``gt_prob`` for its label and an equal share of the rest for each other label. Label 0 is a
    label like any other.

    Args:
        image: RGB image (H, W, 3), uint8.
        labels: Label map (H, W), integers in 0 .. num_labels - 1.
        num_labels: Number of labels that compete; with a single one nothing changes.
        gt_prob: Trust in the label map, in (0, 1).
        gaussian_sxy: Standard deviation of the smoothness kernel, in pixels.
        gaussian_compat: Weight of the smoothness kernel.
        bilateral_sxy: Standard deviation of the appearance kernel in position, in pixels.
        bilateral_srgb: Standard deviation of the appearance kernel in colour, in levels of 0 .. 255.
        bilateral_compat: Weight of the appearance kernel.
        iterations: Steps of the mean field.

    Returns:
        Label map (H, W), int64.

    Raises:
        ImportError: If pydensecrf2 is missing.
        TypeError: If the image is not uint8 or the labels are no integers.
        ValueError: If sizes do not fit, or a label or number is out of range.
    """
    _check_image(image)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f'labels must be integers, not {labels.dtype}')
    if labels.shape != image.shape[:2]:
        raise ValueError(f'labels are {labels.shape}, but the image is {image.shape[:2]} (height, width)')
    if num_labels < 1:
        raise ValueError(f'num_labels must be at least 1, not {num_labels}')
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_labels:
        raise ValueError(f'labels run from {low} to {high}, but must be in 0 .. {num_labels - 1}, for num_labels')
    if not 0 < gt_prob < 1:
        raise ValueError(f'gt_prob must be larger than 0 and less than 1, not {gt_prob}')
    labels = labels.astype(np.int64)
    if num_labels == 1:
        return labels
    is_label = labels == np.arange(num_labels)[:, None, None]
    probabilities = np.where(is_label, gt_prob, (1 - gt_prob) / (num_labels - 1))
    refined: npt.NDArray[Any] = _mean_field(
        image,
        probabilities,
        gaussian_sxy,
        gaussian_compat,
        bilateral_sxy,
        bilateral_srgb,
        bilateral_compat,
        iterations,
    ).argmax(axis=0)
    return refined


def dense_crf_probabilities(
    image: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    *,
    gaussian_sxy: float = 1,
    gaussian_compat: float = 3,
    bilateral_sxy: float = 67,
    bilateral_srgb: float = 3,
    bilateral_compat: float = 4,
    iterations: int = 10,
    min_probability: float = 1e-5,
) -> npt.NDArray[Any]:
    """Fit a network's probabilities to the edges of the image. The defaults are those published with DeepLabV2.

    Args:
        image: RGB image (H, W, 3), uint8.
        probabilities: Of each label (n, H, W), in [0, 1], as after a softmax.
        gaussian_sxy: See :func:`dense_crf`, as for the next five.
        gaussian_compat: Weight of the smoothness kernel.
        bilateral_sxy: Standard deviation of the appearance kernel in position, in pixels.
        bilateral_srgb: Standard deviation of the appearance kernel in colour.
        bilateral_compat: Weight of the appearance kernel.
        iterations: Steps of the mean field.
        min_probability: Smaller probabilities are raised to this one: 0 would exclude a label for good.

    Returns:
        Probabilities (n, H, W), float32, that add up to 1 at each pixel.

    Raises:
        ImportError: If pydensecrf2 is missing.
        TypeError: If the image is not uint8.
        ValueError: If sizes do not fit, or a probability or number is out of range.
    """
    _check_image(image)
    if probabilities.shape[1:] != image.shape[:2] or not len(probabilities):
        raise ValueError(
            f'probabilities are {probabilities.shape}, but must be (labels, height, width), the image being '
            f'{image.shape[:2]}'
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1 + 1e-4):  # a softmax in half precision may leave [0, 1] by this much
        raise ValueError(f'probabilities run from {low} to {high}, but must be in [0, 1], as after a softmax')
    if not 0 < min_probability < 1:
        raise ValueError(f'min_probability must be larger than 0 and less than 1, not {min_probability}')
    return _mean_field(
        image,
        probabilities.clip(min_probability, 1),
        gaussian_sxy,
        gaussian_compat,
        bilateral_sxy,
        bilateral_srgb,
        bilateral_compat,
        iterations,
    )


def ir_labels(
    image: npt.NDArray[Any],
    is_cam: npt.NDArray[Any],
    keys: npt.NDArray[Any],
    *,
    background_scale: float = 0.5,
    thresholds: tuple[float, float] | None = None,
    **crf: Any,
) -> npt.NDArray[Any]:
    """Training labels of IRN: where IS-CAM and the CRF are sure of a class, and where they are sure of background.

    The CRF runs on the argmax of IS-CAM, and once more with the background held back. What is foreground in the first
    is kept; what is background in both is background; the rest is unknown.

    Args:
        image: RGB image (H, W, 3), uint8.
        is_cam: IS-CAM (n + 1, H, W) of the background, which comes first, and the image's own n classes.
        keys: Class index (n + 1,) of each channel; the first is 0, the others are different and in 1 .. 254.
        background_scale: Factor of the background channel in the second run.
        thresholds: None for the two runs published with SIPE, above. Two numbers for those of IRN: in the first run a
            class competes with the first number, in the second run with the second; classes are held back by the
            background (:func:`~sipe_mmseg.refinement.foreground.held_back_by_background`) and divided by their
            largest value. IRN's own, for plain CAMs, are 0.3 and 0.05.
        **crf: Settings of :func:`dense_crf`.

    Returns:
        (H, W), uint8: 0 for background, a class index, or 255 for unknown.

    Raises:
        ImportError: If pydensecrf2 is missing.
        TypeError: If the image is not uint8.
        ValueError: If sizes do not fit, or a class index or number is out of range.
    """
    _check_image(image)
    keys = np.asarray(keys)
    if keys.ndim != 1 or is_cam.shape != (len(keys), *image.shape[:2]):
        raise ValueError(
            f'is_cam is {is_cam.shape}, but must be (classes, height, width), with keys {keys.shape} and an image of '
            f'{image.shape[:2]}'
        )
    listed = keys.tolist()
    if listed[:1] != [0] or len(set(listed)) < len(listed) or not 0 <= min(listed) <= max(listed) < IGNORE_INDEX:
        raise ValueError(f'keys are {listed}, but must be 0, then different class indices in 1 .. {IGNORE_INDEX - 1}')
    if not np.isfinite(is_cam).all():
        raise ValueError('is_cam has values that are infinite or not a number')
    if not 0 <= background_scale <= 1:
        raise ValueError(f'background_scale must be in [0, 1], not {background_scale}')
    if thresholds is None:
        runs = [is_cam, np.concatenate([is_cam[:1] * background_scale, is_cam[1:]])]
    else:
        if len(thresholds) != 2:
            raise ValueError(f'thresholds are {thresholds}, but must be two numbers')
        high, low = thresholds
        if not 1 > high >= low > 0:
            raise ValueError(f'thresholds are {high} and {low}, but must be in (0, 1), the first not below the second')
        weakened = held_back_by_background(is_cam)[1:]
        weakened = weakened / max(weakened.max(initial=0), np.finfo(np.float32).tiny)
        runs = [np.concatenate([np.full_like(is_cam[:1], value), weakened]) for value in (high, low)]
    foreground, background = (keys[dense_crf(image, run.argmax(axis=0), len(keys), **crf)] for run in runs)
    sure = np.where((foreground == 0) & (background == 0), 0, IGNORE_INDEX)
    return np.where(foreground > 0, foreground, sure).astype(np.uint8)


def import_densecrf() -> ModuleType:
    """The compiled dense CRF of pydensecrf2.

    Raises:
        ImportError: If it is missing; the message says how to install it.
    """
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise ImportError(
            "the dense CRF needs pydensecrf2, the extra 'crf': pip install pydensecrf2==1.1 (with a C++ compiler, and "
            'Python 3.12 or older: it cannot be compiled for 3.13)'
        ) from error
    module: ModuleType = densecrf
    return module


def _check_image(image: npt.NDArray[Any]) -> None:
    if image.dtype != np.uint8:
        raise TypeError(f'the image must be uint8 RGB with values in 0 .. 255, not {image.dtype}')
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f'the image is {image.shape}, but must be (height, width, 3) and not empty')


def _mean_field(
    image: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    gaussian_sxy: float,
    gaussian_compat: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_compat: float,
    iterations: int,
) -> npt.NDArray[Any]:
    """Mean field of a fully connected Potts model whose unary term is -log of ``probabilities`` (n, H, W) > 0."""
    for name, value in (
        ('gaussian_sxy', gaussian_sxy),
        ('bilateral_sxy', bilateral_sxy),
        ('bilateral_srgb', bilateral_srgb),
    ):
        if not value > 0:
            raise ValueError(f'{name} must be larger than 0, not {value}')
    if iterations < 0:
        raise ValueError(f'iterations must be at least 0, not {iterations}')
    num_labels, height, width = probabilities.shape
    crf = import_densecrf().DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(
        np.ascontiguousarray(-np.log(probabilities), dtype=np.float32).reshape(num_labels, height * width)
    )
    crf.addPairwiseGaussian(sxy=gaussian_sxy, compat=gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=bilateral_sxy, srgb=bilateral_srgb, rgbim=np.ascontiguousarray(image), compat=bilateral_compat
    )
    return np.asarray(crf.inference(iterations)).reshape(probabilities.shape)
