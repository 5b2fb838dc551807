"""The segmentor around IRN: learns boundaries from IR labels, refines the IS-CAM of an image by a random walk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..refinement.foreground import held_back_by_background
from ..refinement.random_walk import random_walk
from .irn_head import GRID_STRIDE
from .prototypes import resize_bilinear
from .sipe_segmentor import unpadded_sizes

TRUE_BOUNDARY = 0.98
"""Value of a boundary taken from a mask."""


@dataclass(frozen=True)
class IRNTestSettings:
    """How :class:`IRNSegmentor` predicts; its ``test_cfg``. The defaults are the published values.

    Attributes:
        min_size: Images are padded to at least this height and width, in pixels.
        size_divisor: Larger ones are padded to a multiple of this.
        cam_power: Exponent of IS-CAM before the walk.
        radius: Radius of the walk's steps, in cells of the grid of stride 4.
        beta: Exponent of the affinities.
        exp_times: The walk has 2 ** ``exp_times`` steps.
        background_threshold: None lets the background's IS-CAM walk beside the classes', as published with SIPE. A
            number in (0, 1) lets only the classes walk, each held back by the background
            (:func:`~sipe_mmseg.refinement.foreground.held_back_by_background`), and makes background of what stays
            below this share of the largest value, as IRN does with plain CAMs (there 0.25 for VOC). Better where the
            boundaries leak: a background that walks drowns small objects (docs/results.md).
        true_boundaries: Takes the boundaries from the masks instead of the network, to tell how much better ones would
            bring. For ``tools/test.py``: where labels are written, masks are not read.
    """

    min_size: int = 512
    size_divisor: int = 16
    cam_power: float = 1.5
    radius: int = 5
    beta: float = 10.0
    exp_times: int = 8
    background_threshold: float | None = None
    true_boundaries: bool = False

    def __post_init__(self) -> None:
        threshold = self.background_threshold
        if threshold is not None and not (isinstance(threshold, float | int) and 0 < threshold < 1):
            raise ValueError(
                f'model.test_cfg.background_threshold is {threshold!r}: it must be between 0 and 1, or None'
            )


@MODELS.register_module()
class IRNSegmentor(EncoderDecoder):
    """Frozen encoder and :class:`~sipe_mmseg.models.irn_head.IRNHead` (IRN: Ahn, Cho, Kwak; CVPR 2019).

    Trained, it learns from IR labels (``gt_sem_seg``) where classes meet. At test time it takes an image and its
    IS-CAM (``cam``, see :class:`~sipe_mmseg.datasets.cam_transforms.LoadCAM`), spreads the latter between the
    boundaries it finds, and gives the label map of background and the image's own classes. The displacement branch
    teaches the other one nothing and the walk does not use it; it is trained as published.

    Args:
        backbone: Config of any backbone that returns maps.
        decode_head: Config of the head.
        neck: Optional config of a neck between the two.
        freeze_backbone: Whether the backbone stays as it is: no gradient, stored statistics in its BatchNorms.
        channels_last: Whether the backbone works on channels-last tensors: faster for depthwise convolutions on the
            CPU and for half precision on GPUs, equal but for the order of summation.
        train_cfg: Accepted as in every segmentor of mmseg; nothing in it is read.
        test_cfg: Fields of :class:`IRNTestSettings`.
        data_preprocessor: Config of the preprocessor.
        pretrained: Path of the backbone's weights, as in mmseg.
        init_cfg: As in MMEngine.

    Raises:
        ValueError: If ``test_cfg`` has an unknown key, or a threshold out of range.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        neck: dict[str, Any] | None = None,
        freeze_backbone: bool = True,
        channels_last: bool = False,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if pretrained is not None:
            backbone = {**backbone, 'init_cfg': dict(type='Pretrained', checkpoint=pretrained)}
        super().__init__(
            backbone=backbone,
            decode_head=decode_head,
            neck=neck,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        unknown = set(test_cfg or {}) - set(IRNTestSettings.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f'model.test_cfg has no {", ".join(sorted(unknown))}; '
                f'there are {", ".join(IRNTestSettings.__dataclass_fields__)}'
            )
        IRNTestSettings(**(test_cfg or {}))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'IRNSegmentor':
        """As in PyTorch; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Maps of the backbone (and neck) for images (N, 3, H, W), shallow to deep."""
        maps: Sequence[Tensor] = super().extract_feat(inputs.contiguous(memory_format=self.memory_format))
        return maps

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[dict[str, Any]]) -> Tensor:
        """There are no class scores without the images' IS-CAM.

        Raises:
            TypeError: Always.
        """
        raise TypeError('IRNSegmentor has no class scores of its own: predict() refines the IS-CAM of its samples')

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Refine the IS-CAM of each image.

        Args:
            inputs: Preprocessed images (N, 3, H, W), padded at right and bottom where they differ in size.
            data_samples: Their samples, with ``cam`` (``classes`` (n,), ``is_cam`` (n + 1, h, w), background first).

        Returns:
            The samples with ``pred_sem_seg`` (1, H, W) at the image's size, ``refined`` with ``scores``
            (n + 1, H, W) in [0, 1], the walk's result divided by its maximum (for background the threshold, if there
            is one), and ``boundary`` (1, ceil(H/4), ceil(W/4)) in [0, 1].

        Raises:
            ValueError: If a sample has no IS-CAM, or one of other classes than its image-level labels; or no mask,
                where boundaries are taken from masks.
        """
        if data_samples is None:
            raise ValueError(_NO_CAM.format('an image'))
        settings = IRNTestSettings(**(self.test_cfg or {}))
        for image, (height, width), sample in zip(
            inputs, unpadded_sizes(inputs, data_samples), data_samples, strict=True
        ):
            classes, is_cam = _cam_of(sample)
            boundary = true_boundary(sample) if settings.true_boundaries else self.boundary(image[:, :height, :width])
            activation = resize_bilinear(is_cam[None], boundary.shape)[0]
            if settings.background_threshold is not None:
                activation = held_back_by_background(activation)
            activation = activation**settings.cam_power
            walked = random_walk(activation, boundary, settings.radius, settings.beta, settings.exp_times)
            scores = F.interpolate(walked[None], scale_factor=GRID_STRIDE, mode='bilinear', align_corners=False)[0]
            scores = scores[:, :height, :width]
            scores = scores / scores.max().clamp_min(torch.finfo(scores.dtype).tiny)
            if settings.background_threshold is not None:
                scores[0] = settings.background_threshold
            keys = torch.cat([classes.new_zeros(1), classes])
            sample.set_data(
                dict(
                    pred_sem_seg=PixelData(data=keys[scores.argmax(dim=0, keepdim=True)]),
                    refined=PixelData(scores=scores),
                    boundary=PixelData(data=boundary[None]),
                )
            )
        return list(data_samples)

    def boundary(self, image: Tensor) -> Tensor:
        """Boundary map of one preprocessed image (3, H, W), fused with its mirror's: (ceil(H/4), ceil(W/4)) in [0, 1].

        Both are padded with 0 at right and bottom, to ``min_size`` or, beyond it, to a multiple of ``size_divisor``.
        """
        settings = IRNTestSettings(**(self.test_cfg or {}))
        padded = [
            settings.min_size
            if side <= settings.min_size
            else -(-side // settings.size_divisor) * settings.size_divisor
            for side in image.shape[-2:]
        ]
        height, width = (-(-side // GRID_STRIDE) for side in image.shape[-2:])
        pair = torch.stack([image, image.flip(-1)])
        pair = F.pad(pair, (0, padded[1] - image.shape[-1], 0, padded[0] - image.shape[-2]))
        logits: Tensor = self.decode_head.boundary(self.extract_feat(pair))[:, 0, :height, :width].float()
        return ((logits[0] + logits[1].flip(-1)) / 2).sigmoid()


def true_boundary(sample: SegDataSample) -> Tensor:
    """Boundary map (ceil(H/4), ceil(W/4)) of a sample's mask: high in cells that have a neighbour of another value.

    It is not quite 1, so that these cells keep their own IS-CAM, which nothing else reaches.

    Raises:
        ValueError: If the sample has no mask.
    """
    if 'gt_sem_seg' not in sample:
        raise ValueError(
            f'{sample.metainfo.get("img_path", "an image")} has no mask: model.test_cfg.true_boundaries needs one, '
            'and is for tools/test.py, which reads masks'
        )
    cells = sample.gt_sem_seg.data[0, ::GRID_STRIDE, ::GRID_STRIDE]
    edge = torch.zeros_like(cells, dtype=torch.bool)
    for differs, one, other in (
        (cells[1:] != cells[:-1], edge[1:], edge[:-1]),
        (cells[:, 1:] != cells[:, :-1], edge[:, 1:], edge[:, :-1]),
    ):
        one |= differs
        other |= differs
    return edge * TRUE_BOUNDARY


_NO_CAM = (
    '{} comes without IS-CAM, which IRN refines: put LoadCAM into the test pipeline, with the folder that '
    'tools/generate_labels.py --cams has written'
)


def _cam_of(sample: SegDataSample) -> tuple[Tensor, Tensor]:
    """Present classes (n,) and IS-CAM (n + 1, h, w) of a sample."""
    name = sample.metainfo.get('img_path', 'an image')
    if 'cam' not in sample:
        raise ValueError(_NO_CAM.format(name))
    classes = sample.cam.classes
    if 'image_labels' in sample:
        given = sample.image_labels.multi_hot.nonzero()[:, 0] + 1
        if given.tolist() != classes.tolist():
            raise ValueError(
                f'{name} has the classes {given.tolist()} by its image-level labels, but its IS-CAM has '
                f'{classes.tolist()}: make it again with tools/generate_labels.py --cams'
            )
    return classes, sample.cam.is_cam
