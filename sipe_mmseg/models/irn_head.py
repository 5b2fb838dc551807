"""The decode head of IRN: where classes meet, and where each pixel's object is (IRN, section 3.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..refinement.label_values import IGNORE_INDEX
from .chosen_maps import chosen_maps

GRID_STRIDE = 4
"""Stride of both outputs."""

DEEP_STRIDE = 8
"""Stride to which the displacement branch brings the maps deeper than the grid before it joins them."""


class IRNFeatures(NamedTuple):
    """What the two branches give, at stride 4."""

    boundary_logits: Tensor
    """Boundary map before the sigmoid (N, 1, h, w)."""
    displacement: Tensor
    """Displacement (N, 2, h, w) as (dy, dx) in cells; without its mean over the training images if not training."""


@MODELS.register_module()
class IRNHead(BaseModule):
    """Boundary and displacement branches over any pyramid of maps (IRN, section 3.1).

    ``forward`` runs both branches; ``loss`` is ``forward`` and :meth:`loss_by_feat`. The defaults are the published
    network on five maps of a ResNet-50: pooled stem, stages 1 and 2 (strides 4, 4, 8), stages 3 and 4 (stride 16).

    The boundary branch brings every map to stride 4 and joins all. The displacement branch takes maps of stride 4 as
    they are; the deeper ones it brings to stride 8, joins, brings to stride 4 and joins with the others. What is
    enlarged (always before its ReLU) is cut to the size of the last map that has that stride by itself.

    Args:
        in_channels: Channels of the backbone's maps, shallow to deep.
        num_classes: Classes with background, to tell known labels.
        strides: Stride of each map: 4 or multiples of 8, ascending.
        in_index: Which of the backbone's maps to take. None takes all.
        boundary_channels: Channels of each map in the boundary branch.
        boundary_groups: Groups of their GroupNorms.
        displacement_channels: Channels of each map in the displacement branch, one number a map.
        displacement_groups: Groups of their GroupNorms, one number a map.
        joint_channels: Channels of the displacement branch's two joining layers.
        joint_groups: Groups of their GroupNorms.
        loss_affinity: Loss of the boundary branch.
        loss_displacement: Loss of the displacement branch.
        align_corners: False, the only choice; mmseg reads it from every head.
        init_cfg: As in MMEngine. None keeps PyTorch's initialisation of convolutions, as published.

    Raises:
        ValueError: If the arguments' lengths do not fit each other, or a stride is none that the branches can take.
    """

    mean_displacement: Tensor
    """Mean displacement (2,) over the training images, which
    :class:`~sipe_mmseg.engine.mean_displacement_hook.MeanDisplacementHook` measures; 0 until then."""

    def __init__(
        self,
        *,
        in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
        num_classes: int,
        strides: Sequence[int] = (4, 4, 8, 16, 16),
        in_index: Sequence[int] | None = None,
        boundary_channels: int = 32,
        boundary_groups: int = 4,
        displacement_channels: Sequence[int] = (64, 128, 256, 256, 256),
        displacement_groups: Sequence[int] = (8, 16, 16, 16, 16),
        joint_channels: int = 256,
        joint_groups: int = 16,
        loss_affinity: dict[str, Any] | None = None,
        loss_displacement: dict[str, Any] | None = None,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 2:
            raise ValueError(f'decode_head.num_classes={num_classes}: background and at least one class make 2')
        if align_corners:
            raise ValueError('decode_head.align_corners=True: IRN resizes with align_corners=False everywhere')
        in_index = tuple(range(len(in_channels))) if in_index is None else tuple(in_index)
        for name, values in (
            ('strides', strides),
            ('in_index', in_index),
            ('displacement_channels', displacement_channels),
            ('displacement_groups', displacement_groups),
        ):
            if len(values) != len(in_channels):
                raise ValueError(
                    f'decode_head.in_channels has {len(in_channels)} entries, {name} has {len(values)}: '
                    'each map needs one of both'
                )
        _check_strides(strides)
        self.in_channels = tuple(in_channels)
        self.in_index = in_index
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.out_channels = num_classes
        self.align_corners = align_corners
        self.boundary_layers = nn.ModuleList(
            _projection(channels, boundary_channels, boundary_groups) for channels in in_channels
        )
        self.boundary_output = nn.Conv2d(boundary_channels * len(in_channels), 1, 1)
        self.displacement_layers = nn.ModuleList(
            _projection(channels, width, groups)
            for channels, width, groups in zip(in_channels, displacement_channels, displacement_groups, strict=True)
        )
        widths = list(zip(displacement_channels, strides, strict=True))
        deep = sum(width for width, stride in widths if stride > GRID_STRIDE)
        shallow = sum(width for width, stride in widths if stride == GRID_STRIDE)
        self.displacement_deep = _projection(deep, joint_channels, joint_groups)
        self.displacement_joint = _projection(shallow + joint_channels, joint_channels, joint_groups)
        self.displacement_output = nn.Conv2d(joint_channels, 2, 1, bias=False)
        self.register_buffer('mean_displacement', torch.zeros(2))
        self.loss_affinity = MODELS.build(loss_affinity or dict(type='AffinityLoss'))
        self.loss_displacement = MODELS.build(loss_displacement or dict(type='DisplacementLoss'))

    def forward(self, inputs: Sequence[Tensor]) -> IRNFeatures:
        """Run both branches.

        Args:
            inputs: The backbone's maps (N, D_i, h_i, w_i).

        Raises:
            ValueError: If number, channels or sizes of the maps are not those of ``in_channels`` and ``strides``.
        """
        displacement = self.displacement(inputs)
        if not self.training:
            displacement = displacement - self.mean_displacement[:, None, None]
        return IRNFeatures(self.boundary(inputs), displacement)

    def boundary(self, inputs: Sequence[Tensor]) -> Tensor:
        """Boundary map before the sigmoid (N, 1, h, w)."""
        maps = chosen_maps(inputs, self.in_index, self.in_channels)
        size = self._size_at(GRID_STRIDE, maps)
        found = [
            _enlarged(layer(x), stride // GRID_STRIDE, size)
            for layer, x, stride in zip(self.boundary_layers, maps, self.strides, strict=True)
        ]
        logits: Tensor = self.boundary_output(torch.cat(found, dim=1))
        return logits

    def displacement(self, inputs: Sequence[Tensor]) -> Tensor:
        """Displacement (N, 2, h, w), its mean not subtracted."""
        maps = chosen_maps(inputs, self.in_index, self.in_channels)
        grid, deep_grid = (self._size_at(stride, maps) for stride in (GRID_STRIDE, DEEP_STRIDE))
        shallow, deep = [], []
        for layer, x, stride in zip(self.displacement_layers, maps, self.strides, strict=True):
            if stride == GRID_STRIDE:
                shallow.append(layer(x).relu())
            else:
                deep.append(_enlarged(layer(x), stride // DEEP_STRIDE, deep_grid))
        joined = _enlarged(self.displacement_deep(torch.cat(deep, dim=1)), DEEP_STRIDE // GRID_STRIDE, grid)
        fields: Tensor = self.displacement_output(self.displacement_joint(torch.cat([*shallow, joined], dim=1)).relu())
        return fields

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[Any], train_cfg: dict[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: The backbone's maps.
            batch_data_samples: Samples with ``gt_sem_seg`` (1, H, W), the IR labels: class indices, 255 unknown.
            train_cfg: Not used.

        Returns:
            ``loss_pos``, ``loss_neg``, ``loss_disp_fg`` and ``loss_disp_bg``; IRN's loss is their sum.

        Raises:
            ValueError: If a sample has no labels, or its labels hold an unknown value.
        """
        return self.loss_by_feat(self.forward(inputs), self.stack_labels(batch_data_samples))

    def loss_by_feat(self, features: IRNFeatures, labels: Tensor) -> dict[str, Tensor]:
        """Losses from the branches' outputs and labels (N, H, W) at the images' own resolution."""
        with torch.autocast(labels.device.type, enabled=False):
            logits, displacement = features.boundary_logits.float(), features.displacement.float()
            labels = nearest_labels(labels, logits.shape[-2:])
            return {
                **self.loss_affinity(logits, labels, self.num_classes),
                **self.loss_displacement(displacement, labels, self.num_classes),
            }

    def stack_labels(self, batch_data_samples: Sequence[Any]) -> Tensor:
        """IR labels (N, H, W), uint8.

        Raises:
            ValueError: If a sample has no labels, or its labels hold an unknown value; the message names its file.
        """
        labels = []
        for sample in batch_data_samples:
            if 'gt_sem_seg' not in sample:
                raise ValueError(
                    f'{sample.metainfo.get("img_path", "an image")} comes without IR labels: give the data set a '
                    'data_prefix.seg_map_path and the training pipeline LoadAnnotations'
                )
            labels.append(sample.gt_sem_seg.data[0])
        stacked = torch.stack(labels)
        wrong = (stacked >= self.num_classes) & (stacked != IGNORE_INDEX)
        if wrong.any():
            index = int(wrong.flatten(1).any(dim=1).nonzero()[0])
            name = batch_data_samples[index].metainfo.get('seg_map_path', 'a label map')
            raise ValueError(
                f'{name} holds the value {int(stacked[index][wrong[index]][0])}, which is neither one of the '
                f'{self.num_classes} classes (0 to {self.num_classes - 1}) nor unknown ({IGNORE_INDEX})'
            )
        return stacked.to(torch.uint8)

    def _size_at(self, stride: int, maps: Sequence[Tensor]) -> tuple[int, int]:
        """Size of the grid of a stride: that of the last map with this stride, or else of the next deeper one enlarged.

        Raises:
            ValueError: If the maps do not cover that grid with the strides that they are said to have.
        """
        there = [index for index, own in enumerate(self.strides) if own == stride]
        reference = there[-1] if there else sum(own < stride for own in self.strides)
        factor = self.strides[reference] // stride
        height, width = (side * factor for side in maps[reference].shape[-2:])
        for x, own in zip(maps, self.strides, strict=True):
            beyond = [a * own - b * stride for a, b in zip(x.shape[-2:], (height, width), strict=True)]
            if own >= stride and not all(0 <= pixels < own for pixels in beyond):
                raise ValueError(
                    f'decode_head.strides={self.strides}, but the maps of the backbone are of sizes '
                    f'{[tuple(m.shape[-2:]) for m in maps]}: give each map the stride that it has, and pad images '
                    f'to a multiple of {self.strides[-1]} if the backbone drops what is left over'
                )
        return height, width


def nearest_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Label maps (N, H, W) -> (N, h, w), each cell the label that PIL's nearest neighbour takes: that at its centre."""
    return F.interpolate(labels[:, None].float(), size=tuple(size), mode='nearest-exact')[:, 0].to(labels.dtype)


def _projection(in_channels: int, out_channels: int, groups: int) -> nn.Sequential:
    """1x1 convolution without bias and GroupNorm."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.GroupNorm(groups, out_channels))


def _enlarged(x: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Enlarge a map, then ReLU, then cut it to ``size``."""
    if factor > 1:
        x = F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)
    return x.relu()[..., : size[0], : size[1]]


def _check_strides(strides: Sequence[int]) -> None:
    if list(strides) != sorted(strides) or any(s != GRID_STRIDE and (s % DEEP_STRIDE or s < 1) for s in strides):
        raise ValueError(f'decode_head.strides={tuple(strides)}: use 4 and multiples of 8, shallow to deep')
    if strides[-1] == GRID_STRIDE:
        raise ValueError(f'decode_head.strides={tuple(strides)}: at least one map must be deeper than stride 4')
