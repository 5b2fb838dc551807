"""Weights of the published IRN under this package's names, and the way back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .checkpoint_conversion import publish_resnet50, state_of

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


def is_irn(checkpoint: Any) -> bool:
    """Whether a checkpoint of ours is that of an ``IRNSegmentor``."""
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else {}
    return any(str(name).startswith('decode_head.boundary_output.') for name in state)


def publish_irn_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of an ``IRNSegmentor`` with ``ResNetWithStem`` of depth 50 to those of the published IRN.

    The inverse of :func:`convert_published_irn_state`, with every name under which the published network registers a
    tensor.

    Args:
        checkpoint: Checkpoint of a training (``{'state_dict': ...}``) or a state dict.

    Returns:
        State dict as published.

    Raises:
        ValueError: If it is no state dict, the backbone is no ResNet-50, or the head is not the published one.
    """
    state = state_of(checkpoint)
    published = dict(publish_resnet50(state, first_stage=1))
    missing = dict.fromkeys(_LAYERS)
    for full_name, tensor in state.items():
        if full_name.startswith('backbone.'):
            continue
        name = full_name.removeprefix('decode_head.')
        prefix = next((prefix for prefix, target in _LAYERS.items() if name.startswith(target)), None)
        if prefix is None or name == full_name:
            raise ValueError(f'{full_name} has no place in the published IRN')
        missing.pop(prefix, None)
        published_name = prefix + name.removeprefix(_LAYERS[prefix])
        layer, rest = published_name.split('.', 1)
        branch, number = ('edge_layers', layer[7:]) if layer.startswith('fc_edge') else ('dp_layers', layer[5:])
        published[published_name] = published[f'{branch}.{int(number) - 1}.{rest}'] = tensor
    if missing:
        raise ValueError(f'nothing in the checkpoint becomes {next(iter(missing))}* of the published IRN')
    published['mean_shift.running_mean'] = published['fc_dp7.4.running_mean']
    return published
