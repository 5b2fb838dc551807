from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.palette import voc_palette


def test_a_person_can_open_it_and_a_program_reads_the_classes(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(256, size=(7, 11))
    path = tmp_path / 'some' / 'folders' / 'map.png'
    write_label_png(path, labels, voc_palette(21))
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ('PNG', 'P', (11, 7))
        np.testing.assert_array_equal(np.array(image), labels)
        colours = np.array(image.convert('RGB'))
    palette = np.array(voc_palette(21))
    known = labels < 21
    np.testing.assert_array_equal(colours[known], palette[labels[known]])
    assert (colours[~known] == 255).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.int64, np.int32])
def test_any_integers(tmp_path: Path, dtype: type) -> None:
    write_label_png(str(tmp_path / 'map.png'), np.array([[0, 1], [20, 255]], dtype=dtype), [(0, 0, 0)] * 256)
    assert np.array(Image.open(tmp_path / 'map.png')).tolist() == [[0, 1], [20, 255]]


def test_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'map.png'
    path.write_text('old')
    write_label_png(path, np.ones((2, 2), dtype=np.uint8), [(0, 0, 0), (1, 2, 3)])
    assert Image.open(path).convert('RGB').getpixel((0, 0)) == (1, 2, 3)
    assert [p.name for p in tmp_path.iterdir()] == ['map.png']


def test_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'map.png'
    write_label_png(path, np.ones((2, 2), dtype=np.uint8), [(0, 0, 0)])
    before = path.read_bytes()

    def stops_half_way(self: Image.Image, file: Path, **kwargs: str) -> None:
        Path(file).write_bytes(before[:20])
        raise OSError('no space left on device')

    monkeypatch.setattr(Image.Image, 'save', stops_half_way)
    with pytest.raises(OSError, match='no space left'):
        write_label_png(path, np.zeros((2, 2), dtype=np.uint8), [(0, 0, 0)])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['map.png']
