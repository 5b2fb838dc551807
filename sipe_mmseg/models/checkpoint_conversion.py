"""Weights of the published implementation under this package's names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# The published model registers every tensor several times; these prefixes repeat `resnet50.`, `side*` and `classifier`.
_ALIASES = ('backbone.', 'newly_added.', 'stage')
_ENCODER = ('conv1.', 'bn1.', 'layer')
_PARTS = (
    *(f'backbone.{name}.' for name in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4')),
    *(f'decode_head.side_projections.{index}.' for index in range(4)),
    'decode_head.classifier.',
)


def convert_published_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of the published SIPE to those of a ``SIPESegmentor`` with mmseg's ResNet.

    Args:
        checkpoint: ``{'net': state_dict}`` as published, or a state dict. Names may carry DataParallel's ``module.``;
            the encoder is under ``resnet50.`` or bare (torchvision's names), the head is ``side1`` ... and
            ``classifier``. Repetitions under ``stage*``, ``backbone.*`` and ``newly_added.*`` and the encoder's ``fc``
            are left out.

    Returns:
        State dict with ``backbone.*`` and ``decode_head.*``.

    Raises:
        ValueError: If it is no state dict, a name is none of these, or a part of the network is missing.
    """
    state = checkpoint.get('net', checkpoint) if isinstance(checkpoint, Mapping) else checkpoint
    if not isinstance(state, Mapping):
        raise ValueError(
            f"no published SIPE checkpoint: expected {{'net': state_dict}}, found a {type(state).__name__}"
        )
    converted: dict[str, Tensor] = {}
    unknown = []
    for full_name, tensor in state.items():
        name = full_name.removeprefix('module.')
        encoder_name = name.removeprefix('resnet50.')
        if encoder_name.startswith(_ENCODER):
            converted[f'backbone.{encoder_name}'] = tensor
        elif name == 'classifier.weight':
            converted['decode_head.classifier.weight'] = tensor
        elif name.startswith('side') and name.endswith('.weight') and name[4:-7].isdigit():
            converted[f'decode_head.side_projections.{int(name[4:-7]) - 1}.weight'] = tensor
        elif not encoder_name.startswith('fc.') and not name.startswith(_ALIASES):
            unknown.append(full_name)
    if unknown:
        raise ValueError(
            f'{len(unknown)} tensors have names of no published SIPE checkpoint, the first is {unknown[0]!r}: '
            "expected 'resnet50.*', 'side1.weight' to 'side4.weight' and 'classifier.weight'"
        )
    for part in _PARTS:
        if not any(name.startswith(part) for name in converted):
            raise ValueError(f'no published SIPE checkpoint: nothing in it becomes {part}* ({len(state)} tensors read)')
    return converted
