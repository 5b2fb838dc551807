from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sipe_mmseg.datasets.label_files import read_label_png, write_label_png
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


class TestReadLabelPng:
    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        labels = np.array([[0, 1, 255], [4, 0, 2]], dtype=np.uint8)
        write_label_png(tmp_path / 'map.png', labels, voc_palette(5))
        found = read_label_png(tmp_path / 'map.png', 5, (2, 3))
        np.testing.assert_array_equal(found, labels)

    def test_greyscale_holds_class_indices_too(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[0, 3]], dtype=np.uint8)).save(tmp_path / 'map.png')
        assert read_label_png(tmp_path / 'map.png', 4).tolist() == [[0, 3]]

    @pytest.mark.parametrize('mode', ['RGB', 'RGBA', '1', 'I;16'])
    def test_colours_are_no_classes(self, tmp_path: Path, mode: str) -> None:
        Image.new(mode, (3, 2)).save(tmp_path / 'map.png')
        with pytest.raises(ValueError, match=rf'map\.png: has mode {mode}, but a label map holds class indices'):
            read_label_png(tmp_path / 'map.png', 5)

    def test_wrong_size(self, tmp_path: Path) -> None:
        write_label_png(tmp_path / 'map.png', np.zeros((2, 3), np.uint8), voc_palette(5))
        with pytest.raises(ValueError, match=r'map\.png: has 3x2 pixels .* but its image has 2x3'):
            read_label_png(tmp_path / 'map.png', 5, (3, 2))

    def test_unknown_class(self, tmp_path: Path) -> None:
        write_label_png(tmp_path / 'map.png', np.array([[0, 7, 5, 255]], np.uint8), voc_palette(5))
        with pytest.raises(ValueError, match=r'map\.png: has the value 5, but there are 5 classes: 0 to 4, and 255'):
            read_label_png(tmp_path / 'map.png', 5)

    @pytest.mark.parametrize('kept', [0.0, 0.1, 0.5, 0.95])
    def test_truncated(self, tmp_path: Path, kept: float) -> None:
        path = tmp_path / 'map.png'
        write_label_png(path, np.random.default_rng(0).integers(0, 5, (60, 80)), voc_palette(5))
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(ValueError, match=r'map\.png: not a readable PNG .* Write it again; if it is as a command'):
            read_label_png(path, 5)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r'map\.png'):
            read_label_png(tmp_path / 'map.png', 5)
