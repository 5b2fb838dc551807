"""Runs against slow loops that spell the format out, and against pycocotools where it is installed."""

import numpy as np
import pytest

from sipe_mmseg.datasets.run_lengths import compress, decompress, from_run_lengths, run_lengths


def slow_runs(pixels: np.ndarray) -> list[int]:
    counts, current, length = [], False, 0
    for pixel in pixels:
        if bool(pixel) != current:
            counts.append(length)
            current, length = bool(pixel), 0
        length += 1
    return [*counts, length]


def slow_text(counts: list[int]) -> str:
    text = ''
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while True:
            digit = number % 32
            number = (number - digit) // 32
            # The highest bit of the last digit is the sign of what is left.
            done = number == (-1 if digit >= 16 else 0)
            text += chr(48 + digit + (0 if done else 32))
            if done:
                break
    return text


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.eye(1, dtype=bool), np.zeros((1, 1), bool)]
    found += [rng.random((rng.integers(1, 40), rng.integers(1, 40))) < share for share in (0.05, 0.5, 0.95) * 10]
    large = np.zeros((700, 900), bool)
    large[100:600, 200:203] = large[0, 0] = large[699, 899] = True
    return [*found, large]


@pytest.mark.parametrize('mask', masks(), ids=lambda mask: f'{mask.shape[0]}x{mask.shape[1]}')
def test_runs_and_their_text_as_slow_loops_have_them(mask: np.ndarray) -> None:
    flat = mask.ravel(order='F')
    counts = run_lengths(flat)
    assert counts.tolist() == slow_runs(flat)
    text = compress(counts)
    assert text == slow_text(counts.tolist())
    assert decompress(text).tolist() == counts.tolist()
    assert (from_run_lengths(decompress(text), flat.size) == flat).all()


def test_by_hand() -> None:
    assert run_lengths(np.array([1, 1, 0, 1])).tolist() == [0, 2, 1, 1]
    assert compress(np.array([1, 3, 2])) == '132'
    assert compress(np.array([16, 15])) == '`0?'  # 16 would have its sign bit set in one digit
    assert compress(np.array([5, 5, 5, 4])) == '555O'  # -1 is one digit of ones


@pytest.mark.parametrize('mask', masks(), ids=lambda mask: f'{mask.shape[0]}x{mask.shape[1]}')
def test_pycocotools_writes_and_reads_the_same(mask: np.ndarray) -> None:
    theirs = pytest.importorskip('pycocotools.mask')
    encoded = theirs.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = compress(run_lengths(mask.ravel(order='F')))
    assert encoded == {'size': list(mask.shape), 'counts': text.encode()}
    assert (theirs.decode({'size': list(mask.shape), 'counts': text}) == mask).all()


@pytest.mark.parametrize('text', ['', 'P', '0\n', 'é', '~~', 'PPPPPPPP0'])
def test_what_is_no_text_of_runs(text: str) -> None:
    with pytest.raises(ValueError, match='not compressed runs'):
        decompress(text)


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        ([3], 'runs cover 3 pixels, but the image has 6'),
        ([7, -1], '0 or more'),
        ([], '0 or more'),
        ([6.0], '0 or more'),
    ],
)
def test_wrong_runs(counts: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_run_lengths(counts, 6)


def test_sums_that_overflow_are_found() -> None:
    with pytest.raises(ValueError, match='runs cover 18446744073709553216 pixels, but the image has 1600'):
        from_run_lengths([2**62] * 4 + [1600], 1600)
