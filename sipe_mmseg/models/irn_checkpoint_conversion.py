"""Weights of the published IRN under this package's names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_LAYERS = {
    **{f'fc_edge{index}.': f'boundary_layers.{index - 1}.' for index in range(1, 6)},
    'fc_edge6.': 'boundary_output.',
    **{f'fc_dp{index}.': f'displacement_layers.{index - 1}.' for index in range(1, 6)},
    'fc_dp6.': 'displacement_deep.',
    'fc_dp7.3.': 'displacement_output.',
    'fc_dp7.4.running_mean': 'mean_displacement',
    'fc_dp7.': 'displacement_joint.',
}
_ENCODER = 'resnet50.'
# The published model registers the encoder's tensors and the mean twice.
_ALIASES = ('stage', 'backbone.', 'edge_layers.', 'dp_layers.', 'mean_shift.')


def is_published_irn(checkpoint: Any) -> bool:
    """Whether a checkpoint has a branch of the published IRN, rather than the published SIPE's layers."""
    return isinstance(checkpoint, Mapping) and any('fc_edge' in str(name) for name in checkpoint)


def convert_published_irn_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of the published IRN to those of an ``IRNSegmentor`` with ``ResNetWithStem``.

    Args:
        state: State dict. Names may carry DataParallel's ``module.``; the encoder is under ``resnet50.``, the branches
            are ``fc_edge1`` to ``fc_edge6`` and ``fc_dp1`` to ``fc_dp7``.

    Returns:
        State dict with ``backbone.*`` and ``decode_head.*``.

    Raises:
        ValueError: If a name is none of these, or a layer is missing.
    """
    converted: dict[str, Tensor] = {}
    for full_name, tensor in state.items():
        name = full_name.removeprefix('module.')
        prefix = next((prefix for prefix in _LAYERS if name.startswith(prefix)), None)
        if prefix is not None:
            converted[f'decode_head.{_LAYERS[prefix]}{name.removeprefix(prefix)}'] = tensor
        elif name.startswith(_ENCODER):
            inner = name.removeprefix(_ENCODER)
            if not inner.startswith('fc.'):
                converted[f'backbone.{inner}'] = tensor
        elif not name.startswith(_ALIASES):
            raise ValueError(
                f'{full_name!r} is the name of no tensor of the published IRN: expected '
                "'resnet50.*', 'fc_edge1.*' to 'fc_edge6.*' and 'fc_dp1.*' to 'fc_dp7.*'"
            )
    for layer in ('backbone.', *(f'decode_head.{target}' for target in _LAYERS.values() if target.endswith('.'))):
        if not any(name.startswith(layer) for name in converted):
            raise ValueError(f'no published IRN checkpoint: nothing in it becomes {layer}* ({len(state)} tensors read)')
    return converted
