"""What prediction gives, as far as it does not need a model."""

import numpy as np
import pytest

from sipe_mmseg.apis import Prediction


@pytest.mark.parametrize(
    ('present', 'given', 'expected'),
    [
        ([1, 2], True, '<Prediction a.jpg: 3 x 5 pixels, given: cat 0.98, dog 0.10>'),
        ([2], False, '<Prediction a.jpg: 3 x 5 pixels, found: dog 0.10>'),
        ([], False, '<Prediction a.jpg: 3 x 5 pixels, found: no class>'),
    ],
)
def test_is_told_in_a_line(present: list[int], given: bool, expected: str) -> None:
    maps = np.zeros((len(present) + 1, 3, 5), np.float32)
    prediction = Prediction(
        source='a.jpg',
        classes=('background', 'cat', 'dog'),
        scores=np.array([0.981, 0.1], np.float32),
        present=np.array(present, np.int64),
        labels_given=given,
        cam=maps[1:],
        is_cam=maps,
        seeds=np.zeros((3, 5), np.uint8),
        label_map=np.zeros((3, 5), np.uint8),
    )
    assert repr(prediction) == expected
