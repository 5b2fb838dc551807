"""Weights of the published implementation under this package's names, and the way back."""

import re
from collections.abc import Iterator, Mapping
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
_HEAD = {
    'decode_head.classifier.weight': 'classifier.weight',
    **{f'decode_head.side_projections.{index}.weight': f'side{index + 1}.weight' for index in range(4)},
}
_PLAIN_RESNET = re.compile(r'(conv1|bn1|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))\.[a-z_]+')
_RESNET50 = 'a ResNet of (3, 4, 6, 3) bottleneck blocks with 64 channels in its stem'


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


def publish_state(checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Rename the weights of a ``SIPESegmentor`` with mmseg's ResNet-50 to those of the published SIPE.

    The inverse of :func:`convert_published_state`. Every tensor has all the names under which the published network
    registers it, so that its strict loading finds them.

    Args:
        checkpoint: Checkpoint of a training (``{'state_dict': ...}``) or a state dict.

    Returns:
        ``{'net': state_dict}`` as published.

    Raises:
        ValueError: If it is no state dict, the backbone is no ResNet-50, or the head is not the published one; the
            message says what was found.
    """
    state = state_of(checkpoint)
    published = dict(publish_resnet50(state, first_stage=0))
    found = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.startswith('backbone.')}
    _check_head(found)
    for position, (name, target) in enumerate(_HEAD.items()):
        published[target] = published[f'newly_added.{position}.weight'] = state[name]
    return {'net': published}


def state_of(checkpoint: Any) -> Mapping[str, Tensor]:
    """State dict of a checkpoint of ours.

    Raises:
        ValueError: If there is none.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else checkpoint
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError("no checkpoint of this package: expected {'state_dict': ...}, or a state dict of tensors")
    return state


def publish_resnet50(state: Mapping[str, Tensor], first_stage: int) -> Iterator[tuple[str, Tensor]]:
    """The backbone's tensors under every name that the published networks give them.

    Args:
        state: State dict of ours.
        first_stage: Number of the stage that the published network calls its stem: 0 in SIPE, 1 in IRN.

    Yields:
        Names and tensors.

    Raises:
        ValueError: If the backbone is no ResNet-50.
    """
    found = _backbone_of(state)
    if found != _RESNET50:
        raise ValueError(f'the published networks have {_RESNET50}; the backbone of this checkpoint is {found}')
    for full_name, tensor in state.items():
        if full_name.startswith('backbone.'):
            name = full_name.removeprefix('backbone.')
            part, rest = name.split('.', 1)
            stage, place = (0, int(part == 'bn1')) if part in ('conv1', 'bn1') else (int(part[5:]), 0)
            yield f'resnet50.{name}', tensor
            yield f'stage{first_stage + stage}.{place}.{rest}', tensor
            yield f'backbone.{stage}.{place}.{rest}', tensor


def _backbone_of(state: Mapping[str, Tensor]) -> str:
    """What a state dict says about its backbone, in words."""
    names = [name.removeprefix('backbone.') for name in state if name.startswith('backbone.')]
    if not names:
        return f'missing: none of its {len(state)} tensors is called backbone.*'
    strange = [name for name in names if not _PLAIN_RESNET.fullmatch(name)]
    if strange or not {'conv1.weight', 'layer2.0.downsample.0.weight'} <= set(names):
        return f'no plain ResNet: it has backbone.{(strange or names)[0]}'
    blocks = tuple(
        len({name.split('.')[1] for name in names if name.startswith(f'layer{stage}.')}) for stage in range(1, 5)
    )
    kind = 'bottleneck' if 'layer1.0.conv3.weight' in names else 'basic'
    return f'a ResNet of {blocks} {kind} blocks with {len(state["backbone.conv1.weight"])} channels in its stem'


def _check_head(found: Mapping[str, tuple[int, ...]]) -> None:
    widths = {'classifier': (found.get('decode_head.classifier.weight', (0,))[0], 2048)}
    widths |= dict(side1=(128, 256), side2=(128, 512), side3=(256, 1024), side4=(256, 2048))
    for name, target in _HEAD.items():
        wanted = (*widths[target.removesuffix('.weight')], 1, 1)
        if found.get(name) != wanted:
            raise ValueError(
                f'the published {target} has the shape {wanted}, but {name} '
                + (f'has {found[name]}' if name in found else 'is missing')
            )
    unknown = [name for name in found if name not in _HEAD]
    if unknown:
        raise ValueError(f'{unknown[0]} has no place in the published network ({len(unknown)} such tensors)')
