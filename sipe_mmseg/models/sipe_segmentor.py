"""The segmentor: images in; general CAM, IS-CAM, seeds and label map at the image's own size out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import LabelData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .multi_scale_fusion import fuse_scales
from .prototypes import resize_bilinear
from .sipe_head import SCORE_THRESHOLD, SIPEFeatures

NO_SEED = 255
"""Value of a pixel without a seed in the seeds' map."""


class ScaleMaps(NamedTuple):
    """One image's maps at one scale, of the present classes alone, on the head's grid (in pixels if it was padded)."""

    is_cam: Tensor
    """IS-CAM (n + 1, h, w), background first."""
    cam: Tensor
    """General CAM (n, h, w)."""
    seeds: Tensor
    """Class index of each cell's seed (h, w), 255 where an absent class won."""
    labels: Tensor
    """Image-level labels (K,) that were given, or those the classifier found itself."""
    scores: Tensor
    """The classifier's probabilities (K,) on the unmirrored image."""


@MODELS.register_module()
class SIPESegmentor(BaseSegmentor):
    """Encoder and :class:`~sipe_mmseg.models.sipe_head.SIPEHead`, trained with image-level labels (SIPE, section 3).

    Args:
        backbone: Config of any backbone of mmseg or mmpretrain that returns maps.
        decode_head: Config of the head.
        neck: Optional config of a neck between the two.
        train_cfg: Accepted as in every segmentor of mmseg; nothing in it is read.
        test_cfg: ``mirror`` (default False): fuse the image with its mirror, one scale; ``score_threshold`` (default
            0.5): the probability above which a class counts as present in an image without labels.
        data_preprocessor: Config of the preprocessor.
        channels_last: Whether the backbone learns on channels-last tensors: faster for depthwise convolutions on the
            CPU and for half precision on GPUs, equal but for the order of summation. In evaluation it always works
            on them, which is faster for a ResNet on a CPU as well.
        pretrained: Path of the backbone's weights, as in mmseg.
        init_cfg: As in MMEngine.

    Raises:
        ValueError: If ``test_cfg`` has an unknown key.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        neck: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        channels_last: bool = False,
        pretrained: str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if pretrained is not None:
            backbone = {**backbone, 'init_cfg': dict(type='Pretrained', checkpoint=pretrained)}
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.decode_head = MODELS.build(decode_head)
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        unknown = set(test_cfg or {}) - {'mirror', 'score_threshold'}
        if unknown:
            raise ValueError(
                f'model.test_cfg has no {", ".join(sorted(map(str, unknown)))}; there are mirror, score_threshold'
            )
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg

    @property
    def mirror(self) -> bool:
        """Whether :meth:`predict` fuses each image with its mirror."""
        return bool((self.test_cfg or {}).get('mirror', False))

    @property
    def score_threshold(self) -> float:
        """Probability above which a class counts as present in an image without labels."""
        return float((self.test_cfg or {}).get('score_threshold', SCORE_THRESHOLD))

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Maps of the backbone (and neck) for images (N, 3, H, W), shallow to deep."""
        memory_format = self.memory_format if self.training else torch.channels_last
        maps: Sequence[Tensor] = self.backbone(inputs.contiguous(memory_format=memory_format))
        if self.neck is not None:
            maps = self.neck(maps)
        return maps

    def encode_decode(self, inputs: Tensor, batch_data_samples: Sequence[SegDataSample]) -> Tensor:
        """IS-CAM (N, K + 1, H, W) at the inputs' size, of the classes that the classifier finds itself."""
        maps, _, _ = self.decode_head.predict(self.extract_feat(inputs), None, score_threshold=self.score_threshold)
        return resize_bilinear(maps.is_cam, inputs.shape[-2:])

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_gsc`` of a preprocessed batch (N, 3, H, W)."""
        # Not decode_head.loss: during that call, this one would hold the backbone's largest maps, which learn nothing.
        taken = self.decode_head.take(self.extract_feat(inputs))
        features = self.decode_head.project(taken)
        del taken
        targets = self.decode_head.stack_targets(data_samples)
        losses: dict[str, Tensor] = self.decode_head.loss_by_feat(features, *targets, inputs.shape[-2:])
        return losses

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """One scale, unmirrored unless ``test_cfg.mirror``; see :meth:`pack` for what the samples then hold.

        Args:
            inputs: Preprocessed images (N, 3, H, W).
            data_samples: Their samples. ``image_labels`` given are used; else the classifier's own scores.
        """
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(inputs.shape[-2:]))) for _ in inputs]
        sizes = unpadded_sizes(inputs, data_samples)
        found = self.localize(inputs, given_labels(data_samples), self.mirror, sizes)
        return [self.pack(sample, [maps]) for sample, maps in zip(data_samples, found, strict=True)]

    def localize(
        self,
        inputs: Tensor,
        labels: Sequence[Tensor | None],
        mirror: bool,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[ScaleMaps]:
        """Maps of a batch at the scale it comes in.

        Args:
            inputs: Preprocessed images (N, 3, H, W).
            labels: For each image its labels (K,) or None to use the classifier's own scores.
            mirror: Whether to fuse each image with its mirror.
            image_sizes: For each image the (height, width) that it fills of the input, from the top left corner. The
                rest is padding, which is cut off its maps. None: there is no padding.

        Returns:
            The maps of each image.
        """
        input_size = (inputs.shape[-2], inputs.shape[-1])
        batch = torch.cat([inputs, inputs.flip(-1)]) if mirror else inputs
        features: SIPEFeatures = self.decode_head(self.extract_feat(batch))
        found = []
        for index, own in enumerate(labels):
            rows = [index, index + len(inputs)] if mirror else [index]
            single = SIPEFeatures(*(x[rows] for x in features))
            maps, used, scores = self.decode_head.predict_by_feat(
                single, None if own is None else own[None], mirror, self.score_threshold
            )
            classes = used[0].nonzero()[:, 0] + 1
            keys = torch.cat([classes.new_zeros(1), classes])
            seeds = torch.where(maps.seeds[0].any(dim=0), maps.seeds[0].argmax(dim=0), NO_SEED)
            scale = ScaleMaps(maps.is_cam[0, keys], maps.cam[0, classes], seeds, used[0], scores[0])
            image_size = input_size if image_sizes is None else image_sizes[index]
            found.append(scale if image_size == input_size else _cut_padding(scale, input_size, image_size))
        return found

    def pack(self, sample: SegDataSample, scales: Sequence[ScaleMaps]) -> SegDataSample:
        """Fuse one image's scales and put the maps into its sample, at the image's own size (H, W).

        Args:
            sample: Sample whose metainfo has ``ori_shape``.
            scales: Its maps at each scale; seeds, labels and scores are those of the first one.

        Returns:
            The sample with ``pred_sem_seg`` (1, H, W), the argmax of IS-CAM over background and present classes;
            ``localization`` with ``is_cam`` (n + 1, H, W) and ``cam`` (n, H, W) in [0, 1], ``seeds`` (1, H, W), and
            ``assignment`` (1, H, W) of uint8, the class of the prototype with the largest cosine at the first scale,
            255 where none is above 0; ``present`` with ``classes`` (n,), ``scores`` (K,) and ``given`` (whether labels
            were given).
        """
        size = sample.metainfo['ori_shape'][:2]
        eps = self.decode_head.eps
        is_cam = fuse_scales([maps.is_cam for maps in scales], size, eps)
        classes = scales[0].labels.nonzero()[:, 0] + 1
        cam = fuse_scales([maps.cam for maps in scales], size, eps) if len(classes) else is_cam.new_zeros(0, *size)
        keys = torch.cat([classes.new_zeros(1), classes])
        cosine, nearest = scales[0].is_cam.max(dim=0)
        assignment = torch.where(cosine > 0, keys[nearest], NO_SEED).to(torch.uint8)
        given = torch.tensor('image_labels' in sample)
        sample.set_data(
            dict(
                pred_sem_seg=PixelData(data=keys[is_cam.argmax(dim=0, keepdim=True)]),
                localization=PixelData(
                    is_cam=is_cam,
                    cam=cam,
                    seeds=resize_classes(scales[0].seeds[None], size),
                    assignment=resize_classes(assignment[None], size),
                ),
                present=LabelData(classes=classes, scores=scales[0].scores, given=given),
            )
        )
        return sample

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> SIPEFeatures:
        """The head's convolutions on the backbone's maps, nothing after them."""
        features: SIPEFeatures = self.decode_head(self.extract_feat(inputs))
        return features


def resize_classes(classes: Tensor, size: Sequence[int]) -> Tensor:
    """Bring class indices (1, h, w) to another size, each pixel with the class of the nearest one."""
    return F.interpolate(classes[None].float(), size=tuple(size), mode='nearest')[0].to(classes.dtype)


def given_labels(data_samples: Sequence[SegDataSample]) -> list[Tensor | None]:
    """Image-level labels (K,) of each sample, None where it has none."""
    return [sample.image_labels.multi_hot if 'image_labels' in sample else None for sample in data_samples]


def unpadded_sizes(inputs: Tensor, data_samples: Sequence[SegDataSample]) -> list[tuple[int, int]]:
    """(height, width) of each image in a batch (N, 3, H, W) that the preprocessor may have padded below and right."""
    height, width = inputs.shape[-2:]
    sizes = []
    for sample in data_samples:
        _, right, _, below = sample.metainfo.get('img_padding_size', (0, 0, 0, 0))
        sizes.append((height - below, width - right))
    return sizes


def _cut_padding(maps: ScaleMaps, input_size: tuple[int, int], image_size: tuple[int, int]) -> ScaleMaps:
    """Bring maps to the input's pixels and keep those of the image, in the top left corner."""
    height, width = image_size
    seeds = resize_classes(maps.seeds[None], input_size)[0]
    return maps._replace(
        is_cam=resize_bilinear(maps.is_cam[None], input_size)[0, :, :height, :width],
        cam=resize_bilinear(maps.cam[:, None], input_size)[:, 0, :height, :width],
        seeds=seeds[:height, :width],
    )
