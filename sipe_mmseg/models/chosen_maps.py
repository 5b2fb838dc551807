"""The maps of a backbone that a head takes."""

from collections.abc import Sequence

from torch import Tensor


def chosen_maps(inputs: Sequence[Tensor], in_index: Sequence[int], in_channels: Sequence[int]) -> list[Tensor]:
    """The maps that a head's ``in_index`` names, once it is sure that they have its ``in_channels``.

    Args:
        inputs: Maps (N, C, h, w) of the backbone.
        in_index: Their places; negative ones count from the end.
        in_channels: The channels that each should have.

    Raises:
        ValueError: If there is no such map, or one has other channels; the message says what would fit.
    """
    for index in in_index:
        if not -len(inputs) <= index < len(inputs):
            raise ValueError(
                f'decode_head.in_index={tuple(in_index)} asks for map {index}, but the backbone returns '
                f'{len(inputs)} maps: change in_index or the out_indices of the backbone'
            )
    maps = [inputs[index] for index in in_index]
    found = tuple(x.shape[1] for x in maps)
    if found != tuple(in_channels):
        raise ValueError(
            f'decode_head.in_channels={tuple(in_channels)}, but the maps of the backbone have {found} channels: '
            f'in_channels={found} would fit'
        )
    return maps
