"""What prediction gives, as far as it does not need a model."""

import numpy as np
import pytest

from sipe_mmseg.apis import Prediction


@pytest.mark.parametrize(
    ('present', 'given', 'expected'),
    [
        ([1, 2], True, 'a.jpg: cat 0.98, dog 0.10 (labels given)'),
        ([2], False, 'a.jpg: dog 0.10'),
        ([], True, 'a.jpg: no object (labels given)'),
        ([], False, 'a.jpg: no object (best: cat 0.98, not above 0.99)'),
    ],
)
def test_is_told_in_a_line(present: list[int], given: bool, expected: str) -> None:
    maps = np.zeros((len(present) + 1, 3, 5), np.float32)
    prediction = Prediction(
        source='a.jpg',
        classes=('background', 'cat', 'dog'),
        scores=np.array([0.9849, 0.1], np.float32),
        present=np.array(present, np.int64),
        labels_given=given,
        cam=maps[1:],
        is_cam=maps,
        seeds=np.zeros((3, 5), np.uint8),
        label_map=np.zeros((3, 5), np.uint8),
        score_threshold=0.99,
    )
    assert str(prediction) == expected
    assert repr(prediction) == f'<Prediction {expected}, 3 x 5 pixels>'
