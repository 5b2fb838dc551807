"""The decode head of SIPE: classifier, side projections, and who is detached from whom."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .chosen_maps import chosen_maps
from .prototypes import (
    EPS,
    ReadMap,
    class_activation_maps,
    hierarchical_feature,
    image_specific_cams,
    image_specific_prototypes,
    read_map,
    resize_bilinear,
    structure_aware_seeds,
    validity_maps,
)

SCORE_THRESHOLD = 0.5
"""Probability above which the classifier counts a class as present where no labels are given."""


class SIPEFeatures(NamedTuple):
    """What the head's convolutions give, all on the same ``h x w`` grid."""

    logits: Tensor
    """Classifier's maps (N, K, h, w)."""
    scores: Tensor
    """Image scores (N, K): the logits' spatial mean on the classifier's own grid, padding included."""
    hierarchical: Tensor
    """Hierarchical feature F_h (N, D, h, w)."""
    deepest: Tensor
    """The backbone's last map (N, D_last, h, w)."""


class TakenMaps(NamedTuple):
    """What the head takes of the backbone's maps; the larger ones are not held by it."""

    read: list[ReadMap]
    """What is read of each map, detached."""
    deepest: Tensor
    """The last map (N, D_last, h_last, w_last)."""
    size: tuple[int, int]
    """(h, w) of the grid."""


class LocalizationMaps(NamedTuple):
    """The maps of a batch on the head's grid, background first."""

    cam: Tensor
    """General CAM M (N, K + 1, h, w) in [0, 1]."""
    seeds: Tensor
    """Structure-aware seeds R (N, K + 1, h, w), 0 or 1."""
    prototypes: Tensor
    """Image-specific prototypes (N, K + 1, D)."""
    is_cam: Tensor
    """IS-CAM (N, K + 1, h, w) in [0, 1], not divided by its maximum."""


@MODELS.register_module()
class SIPEHead(BaseModule):
    """Localisation maps from image-level labels, over any pyramid of maps (SIPE, section 3).

    ``forward`` runs the convolutions, in two halves, :meth:`take` and :meth:`project`, which are what a subclass
    overrides: the segmentor's loss calls them one by one. ``loss`` is ``forward`` and :meth:`loss_by_feat`; ``predict``
    is ``forward`` and :meth:`predict_by_feat`. The two differ as in the published code: training masks the general CAM
    with the labels and finds seeds in the backbone's last map; inference lets absent classes compete for seeds and
    finds them in ``F_h``.

    Args:
        in_channels: Channels of the backbone's maps, shallow to deep.
        num_classes: Classes with background (21 for VOC 2012, 81 for COCO 2014).
        in_index: Which of the backbone's maps to take. None takes all.
        side_channels: Output channels of each map's side projection (1x1 convolution without bias).
        grid_index: The map whose size all maps are brought to; -2 is the published x3.
        alpha: Weight that holds the background back in the competition for seeds.
        alpha_on: ``'similarity'`` (published code) or ``'map'`` (paper), see
            :func:`~sipe_mmseg.models.prototypes.structure_aware_seeds`.
        eps: Guard of the divisions by norms and maxima.
        loss_cls: Classification loss.
        loss_gsc: Consistency of general CAM and IS-CAM. None trains the classifier alone, and the side projections
            stay as initialised.
        align_corners: False, the only choice; mmseg reads it from every head.
        init_cfg: As in MMEngine. None keeps PyTorch's initialisation of convolutions, as published.

    Raises:
        ValueError: If an argument is none of its choices, or the arguments' lengths do not fit each other.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        num_classes: int,
        in_index: Sequence[int] | None = None,
        side_channels: Sequence[int] = (128, 128, 256, 256),
        grid_index: int = -2,
        alpha: float = 0.5,
        alpha_on: Literal['similarity', 'map'] = 'similarity',
        eps: float = EPS,
        loss_cls: dict[str, Any] | None = None,
        loss_gsc: dict[str, Any] | None = None,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 2:
            raise ValueError(f'decode_head.num_classes={num_classes}: background and at least one class make 2')
        if alpha_on not in ('similarity', 'map'):
            raise ValueError(
                f"decode_head.alpha_on={alpha_on!r}: use 'similarity' (published code) or 'map' (paper's description)"
            )
        if align_corners:
            raise ValueError('decode_head.align_corners=True: SIPE resizes with align_corners=False everywhere')
        if len(in_channels) != len(side_channels):
            raise ValueError(
                f'decode_head.in_channels has {len(in_channels)} entries, side_channels has {len(side_channels)}: '
                'each map needs one of both'
            )
        if in_index is not None and len(in_index) != len(in_channels):
            raise ValueError(
                f'decode_head.in_index has {len(in_index)} entries, in_channels has {len(in_channels)}: '
                'each map needs one of both'
            )
        if not -len(in_channels) <= grid_index < len(in_channels):
            raise ValueError(
                f'decode_head.grid_index={grid_index} is none of the {len(in_channels)} maps; '
                'with a single map use grid_index=-1'
            )
        self.in_channels = tuple(in_channels)
        self.in_index = tuple(in_index) if in_index is not None else tuple(range(len(in_channels)))
        self.num_classes = num_classes
        self.out_channels = num_classes
        self.grid_index = grid_index
        self.alpha = alpha
        self.alpha_on = alpha_on
        self.eps = eps
        self.align_corners = align_corners
        self.classifier = nn.Conv2d(self.in_channels[-1], num_classes - 1, 1, bias=False)
        self.side_projections = nn.ModuleList(
            nn.Conv2d(channels, side, 1, bias=False) for channels, side in zip(in_channels, side_channels, strict=True)
        )
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))
        self.loss_gsc = MODELS.build(loss_gsc) if loss_gsc is not None else None
        if self.loss_gsc is None:
            self.side_projections.requires_grad_(False)

    def forward(self, inputs: Sequence[Tensor]) -> SIPEFeatures:
        """Run classifier and side projections.

        Args:
            inputs: The backbone's maps (N, D_i, h_i, w_i).

        Returns:
            Float32 features on the grid of map ``grid_index``; the side projections see detached maps.

        Raises:
            ValueError: If number or channels of the maps are not those of ``in_channels``.
        """
        return self.project(self.take(inputs))

    def take(self, inputs: Sequence[Tensor]) -> TakenMaps:
        """The first half of :meth:`forward`, after which a caller can let go of the backbone's largest maps."""
        maps = chosen_maps(inputs, self.in_index, self.in_channels)
        height, width = maps[self.grid_index].shape[-2:]
        return TakenMaps([read_map(x.detach(), (height, width)) for x in maps], maps[-1], (height, width))

    def project(self, taken: TakenMaps) -> SIPEFeatures:
        """The second half of :meth:`forward`: the convolutions."""
        logits = self.classifier(taken.deepest).float()
        return SIPEFeatures(
            logits=resize_bilinear(logits, taken.size),
            scores=logits.mean(dim=(2, 3)),
            hierarchical=hierarchical_feature(taken.read, list(self.side_projections), taken.size, self.eps),
            deepest=resize_bilinear(taken.deepest.float(), taken.size),
        )

    def localize(self, features: SIPEFeatures, valid: Tensor) -> LocalizationMaps:
        """Maps of the training path: general CAM masked by ``valid`` (N, K + 1, h, w), and what follows from it."""
        cam = class_activation_maps(features.logits, self.eps) * valid
        return self._explore(cam, features.deepest, features.hierarchical, valid)

    def loss(
        self, inputs: Sequence[Tensor], data_samples: Sequence[Any], crop_size: Sequence[int]
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: The backbone's maps.
            data_samples: Samples with ``image_labels.multi_hot`` (K,) and ``valid_box`` (4,).
            crop_size: (H, W) of the batch in pixels.

        Returns:
            ``loss_cls`` and, unless switched off, ``loss_gsc``.
        """
        return self.loss_by_feat(self.forward(inputs), *self.stack_targets(data_samples), crop_size)

    def loss_by_feat(
        self, features: SIPEFeatures, labels: Tensor, boxes: Tensor, crop_size: Sequence[int]
    ) -> dict[str, Tensor]:
        """Losses from the convolutions' results, labels (N, K) and the images' boxes (N, 4) inside the crop."""
        with torch.autocast(features.logits.device.type, enabled=False):
            losses = dict(loss_cls=self.loss_cls(features.scores, labels))
            if self.loss_gsc is not None:
                valid = validity_maps(labels, boxes, crop_size, features.logits.shape[-2:])
                maps = self.localize(features, valid)
                losses['loss_gsc'] = self.loss_gsc(maps.cam, maps.is_cam)
        return losses

    def predict(self, inputs: Sequence[Tensor], labels: Tensor | None, mirrored: bool = False, **kwargs: Any) -> Any:
        """``forward`` and :meth:`predict_by_feat`."""
        return self.predict_by_feat(self.forward(inputs), labels, mirrored, **kwargs)

    def predict_by_feat(
        self,
        features: SIPEFeatures,
        labels: Tensor | None,
        mirrored: bool = False,
        score_threshold: float = SCORE_THRESHOLD,
    ) -> tuple[LocalizationMaps, Tensor, Tensor]:
        """Maps of the inference path.

        Args:
            features: Of N images or, if ``mirrored``, of N images followed by their N mirrors: classifier's maps and
                ``F_h`` of each pair are summed before anything is normalised.
            labels: Image-level labels (N, K), or None to take the classes that the classifier itself is sure of.
            mirrored: Whether mirrors follow.
            score_threshold: Probability above which a class counts as present where no labels are given.

        Returns:
            Maps, the labels used (N, K), and the classifier's probabilities (N, K) on the unmirrored images. The
            general CAM still holds absent classes; seeds, prototypes and IS-CAM do not.

        Raises:
            ValueError: If the labels' number of classes is not the head's.
        """
        with torch.autocast(features.logits.device.type, enabled=False):
            logits, hierarchical, scores = features.logits, features.hierarchical, features.scores
            if mirrored:
                logits, hierarchical = _fuse_mirrored(logits), _fuse_mirrored(hierarchical)
                scores = scores.chunk(2)[0]
            probabilities = scores.sigmoid()
            if labels is None:
                labels = (probabilities > score_threshold).to(logits.dtype)
            present = torch.cat([torch.ones_like(labels[:, :1]), self._checked(labels)], dim=1)[:, :, None, None]
            cam = class_activation_maps(logits, self.eps)
            return self._explore(cam, hierarchical, hierarchical, present), labels, probabilities

    def stack_targets(self, data_samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Labels of :meth:`stack_labels` and the samples' boxes (N, 4)."""
        return self.stack_labels(data_samples), torch.stack([sample.valid_box for sample in data_samples])

    def stack_labels(self, data_samples: Sequence[Any]) -> Tensor:
        """Stack the samples' image-level labels.

        Returns:
            (N, K) float.

        Raises:
            ValueError: If the data set's number of classes is not the head's.
        """
        return self._checked(torch.stack([sample.image_labels.multi_hot for sample in data_samples]))

    def _checked(self, labels: Tensor) -> Tensor:
        if labels.shape[1] != self.num_classes - 1:
            raise ValueError(
                f'decode_head.num_classes={self.num_classes}, background included, but the data set has '
                f'{labels.shape[1]} foreground classes: num_classes={labels.shape[1] + 1} would fit'
            )
        return labels

    def _explore(self, cam: Tensor, structure: Tensor, hierarchical: Tensor, valid: Tensor) -> LocalizationMaps:
        seeds = structure_aware_seeds(structure, cam, valid, self.alpha, self.alpha_on, self.eps)
        prototypes = image_specific_prototypes(hierarchical, seeds)
        return LocalizationMaps(cam, seeds, prototypes, image_specific_cams(hierarchical, prototypes))


def _fuse_mirrored(maps: Tensor) -> Tensor:
    """Sum the maps of N images and of the N mirrors behind them, mirrored back: (2N, D, h, w) -> (N, D, h, w)."""
    image, mirror = maps.chunk(2)
    return image + mirror.flip(-1)
