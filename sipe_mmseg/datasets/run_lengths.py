"""Run-length encoded masks: the lengths of runs of 0 and 1 in turn, beginning with 0, and COCO's text for them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_DIGIT_BITS = 5
_MORE = 1 << _DIGIT_BITS  # set in every character but the last of a number
_SIGN = _MORE >> 1
_FIRST_CHARACTER = ord('0')
_DIGITS = 7  # enough for 35 bits, the sign included


def run_lengths(pixels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Lengths of the runs of a flat mask (n,): False, True, False and so on; the first is 0 if it begins with True."""
    pixels = np.asarray(pixels, dtype=bool)
    edges = np.flatnonzero(np.diff(pixels, prepend=False))
    return np.diff(edges, prepend=0, append=len(pixels))


def from_run_lengths(counts: Sequence[int] | npt.NDArray[Any], number: int) -> npt.NDArray[np.bool_]:
    """The flat mask (``number``,) of run lengths.

    Raises:
        ValueError: If they are no whole numbers from 0 on, or do not cover ``number`` pixels.
    """
    lengths = np.asarray(counts)
    if not (lengths.ndim == 1 and lengths.size and lengths.dtype.kind in 'iu' and lengths.min() >= 0):
        raise ValueError('counts of runs must be integers, 0 or more')
    covered = sum(lengths.tolist())  # Python's, which does not overflow
    if covered != number:
        raise ValueError(f'runs cover {covered} pixels, but the image has {number}')
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def compress(counts: npt.NDArray[np.int64]) -> str:
    """COCO's text for run lengths, as ``pycocotools`` writes it.

    From the fourth on, a number is the difference to the one two places before. A number is written in digits of five
    bits, the lowest first, as many as its sign needs; a character is 48 and the digit, and 32 where another follows.
    """
    numbers = np.array(counts, dtype=np.int64)
    numbers[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    shifts = _DIGIT_BITS * np.arange(_DIGITS)
    digits = (numbers[:, None] >> shifts) & (_MORE - 1)
    rest = numbers[:, None] >> (shifts + _DIGIT_BITS)
    more = np.where(digits & _SIGN, rest != -1, rest != 0)
    written = np.logical_and.accumulate(np.column_stack([np.ones(len(more), dtype=bool), more[:, :-1]]), axis=1)
    characters: bytes = (digits + _MORE * more + _FIRST_CHARACTER)[written].astype(np.uint8).tobytes()
    return characters.decode('ascii')


def decompress(text: str) -> npt.NDArray[np.int64]:
    """Run lengths of COCO's text.

    Raises:
        ValueError: If it is no such text.
    """
    characters = np.frombuffer(text.encode('utf-8'), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(characters) or characters.min() < 0 or characters.max() >= 2 * _MORE or characters[-1] & _MORE:
        raise ValueError(f'not compressed runs: {text[:20]!r}')
    last = np.flatnonzero(~characters & _MORE)
    first = np.concatenate([[0], last[:-1] + 1])
    number_digits = last - first + 1
    if number_digits.max() > _DIGITS:
        raise ValueError(f'not compressed runs: {text[:20]!r} has a number of {number_digits.max()} digits')
    places = np.arange(len(characters)) - np.repeat(first, number_digits)
    numbers = np.add.reduceat((characters & (_MORE - 1)) << (_DIGIT_BITS * places), first)
    numbers -= np.where(characters[last] & _SIGN, np.left_shift(1, _DIGIT_BITS * number_digits), 0)
    for start in (1, 2):
        numbers[start::2] = numbers[start::2].cumsum()
    return numbers
