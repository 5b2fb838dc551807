"""The colour map of PASCAL VOC, for any number of classes."""


def voc_palette(num_classes: int) -> list[list[int]]:
    """Colours of class indices as in the development kit of PASCAL VOC (its ``VOClabelcolormap.m``).

    The bits of the index are dealt out in turn to red, green and blue, from each channel's highest bit downwards: 0 is
    black, 1 is dark red, and 256 indices get 256 different colours.

    Args:
        num_classes: Number of colours, background included; at most 256.

    Returns:
        ``num_classes`` colours ``[red, green, blue]``, integers in 0..255.

    Raises:
        ValueError: If ``num_classes`` is not in 0..256.
    """
    if not 0 <= num_classes <= 256:
        raise ValueError(f'a palette has 0 to 256 colours, not {num_classes}')
    palette = []
    for index in range(num_classes):
        colour = [0, 0, 0]
        for bit in range(8):
            if index >> bit & 1:
                colour[bit % 3] |= 128 >> bit // 3
        palette.append(colour)
    return palette
