"""CAM files: small, whole, read without pickle, and nothing else is taken for one."""

import errno
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sipe_mmseg.datasets.cam_files import CAMFile, read_cam, resize_cam, strided_size, write_cam


def maps(num_classes: int = 2, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.random.default_rng(0).random((num_classes + 1, *size), dtype=np.float32)


def written(path: Path, **changes: Any) -> Path:
    """A file as ``write_cam`` writes it, but for the changes."""
    arrays = dict(
        classes=np.array([3, 15]), is_cam=maps().astype(np.float16), size=np.array([20, 28]), made_with=np.array('abc')
    )
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_reads_what_was_written_in_half_precision(tmp_path: Path) -> None:
    is_cam = maps()
    write_cam(tmp_path / 'more' / 'a.npz', np.array([3, 15]), is_cam, (20, 28), 'abc')
    cam = read_cam(tmp_path / 'more' / 'a.npz', num_classes=21, made_with='abc')
    assert cam.classes.dtype == np.int64 and cam.classes.tolist() == [3, 15]
    assert cam.is_cam.dtype == np.float32
    assert cam.size == (20, 28)
    np.testing.assert_allclose(cam.is_cam, is_cam, atol=2**-11)
    assert [path.name for path in (tmp_path / 'more').iterdir()] == ['a.npz']


def test_image_without_objects(tmp_path: Path) -> None:
    write_cam(tmp_path / 'a.npz', np.array([]), maps(0), (20, 28))
    cam = read_cam(tmp_path / 'a.npz')
    assert cam.classes.shape == (0,) and cam.is_cam.shape == (1, 5, 7)
    assert (cam.label_map() == np.zeros((20, 28))).all()


def test_is_small(tmp_path: Path) -> None:
    """Two classes of an image of 500 x 375 at stride 4: half precision is at most 2 bytes a number."""
    write_cam(tmp_path / 'a.npz', np.array([3, 15]), maps(2, strided_size((375, 500), 4)), (375, 500))
    assert (tmp_path / 'a.npz').stat().st_size < 2 * 3 * 94 * 125 + 2000


def test_resizes_as_a_slow_bilinear_loop_does() -> None:
    is_cam = maps(1, (3, 4))
    height, width = 7, 9
    expected = np.zeros((2, height, width))
    for y in range(height):
        for x in range(width):
            # Pixel centres: (y + 0.5) / height of the way down, clamped to the outermost centres.
            v = min(max((y + 0.5) * 3 / height - 0.5, 0), 2)
            u = min(max((x + 0.5) * 4 / width - 0.5, 0), 3)
            top, left = int(v), int(u)
            down, right = min(top + 1, 2), min(left + 1, 3)
            a, b = v - top, u - left
            expected[:, y, x] = (1 - a) * ((1 - b) * is_cam[:, top, left] + b * is_cam[:, top, right]) + a * (
                (1 - b) * is_cam[:, down, left] + b * is_cam[:, down, right]
            )
    np.testing.assert_allclose(resize_cam(is_cam, (height, width)), expected, atol=1e-6)


def test_label_map_is_the_argmax_over_background_and_own_classes() -> None:
    is_cam = np.zeros((3, 2, 3), np.float32)
    is_cam[0, 0], is_cam[1, 1, :2], is_cam[2, 1, 2] = 1, 1, 1
    assert CAMFile(np.array([3, 15]), is_cam, (2, 3)).label_map().tolist() == [[0, 0, 0], [3, 3, 15]]


@pytest.mark.parametrize(('size', 'stride', 'expected'), [((375, 500), 4, (94, 125)), ((8, 9), 1, (8, 9))])
def test_strided_size(size: tuple[int, int], stride: int, expected: tuple[int, int]) -> None:
    assert strided_size(size, stride) == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(classes=np.array([15, 3])), r'ascending class indices from 1 on, not \[15, 3\]'),
        (dict(classes=np.array([0, 3])), 'ascending class indices from 1 on'),
        (dict(classes=np.array([3.0, 15.0])), 'ascending class indices from 1 on'),
        (dict(classes=np.array([3, 25])), 'it has class 25, but there are 21 classes'),
        (dict(is_cam=maps(1)), r'2 classes need 3 maps, background first, not an array \(2, 5, 7\)'),
        (dict(is_cam=np.ones((3, 5, 7), np.int64)), '2 classes need 3 maps'),
        (dict(is_cam=np.full((3, 5, 7), np.nan)), 'not finite'),
        (dict(size=np.array([20])), r'size must be \(height, width\)'),
        (dict(size=None), 'it has other contents'),
        (dict(extra=np.zeros(1)), 'it has other contents'),
        (dict(made_with=np.array('def')), 'made with another checkpoint or other settings'),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path / 'a.npz', **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_cam(path, num_classes=21, made_with='abc')
    assert str(path) in str(caught.value)


def test_settings_are_checked_only_where_they_are_known(tmp_path: Path) -> None:
    assert read_cam(written(tmp_path / 'a.npz')).classes.tolist() == [3, 15]


@pytest.mark.parametrize('kept', [0.0, 0.2, 0.6, 0.99])
def test_truncated_file(tmp_path: Path, kept: float) -> None:
    path = tmp_path / 'a.npz'
    write_cam(path, np.array([3, 15]), maps(2, (50, 70)), (200, 280))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file, or cut short .* Remove it'):
        read_cam(path)


def test_damaged_bytes(tmp_path: Path) -> None:
    path = tmp_path / 'a.npz'
    write_cam(path, np.array([3, 15]), maps(2, (50, 70)), (200, 280))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file, or cut short'):
        read_cam(path)


def test_unknown_compression(tmp_path: Path) -> None:
    path = tmp_path / 'a.npz'
    write_cam(path, np.array([3, 15]), maps(2, (50, 70)), (200, 280))
    content = bytearray(path.read_bytes())
    entry = content.index(b'PK\x01\x02')  # of the archive's directory
    content[entry + 10] = 0x63
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file, or cut short'):
        read_cam(path)


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_runs_nothing_of_a_pickle(tmp_path: Path) -> None:
    harm = tmp_path / 'was_here'
    hostile = np.empty(1, dtype=object)
    hostile[0] = _Hostile(harm)
    stored = io.BytesIO()
    np.save(stored, hostile, allow_pickle=True)
    files = {'npz': written(tmp_path / 'b.npz', classes=None)}
    with zipfile.ZipFile(files['npz'], 'a') as archive:
        archive.writestr('classes.npy', stored.getvalue())
    files['plain'] = tmp_path / 'c.npz'
    files['plain'].write_bytes(pickle.dumps(_Hostile(harm)))
    for path in files.values():
        with pytest.raises(ValueError, match='not a CAM file, or cut short'):
            read_cam(path)
    assert not harm.exists()


def test_array_that_is_no_archive(tmp_path: Path) -> None:
    with open(tmp_path / 'a.npz', 'wb') as file:
        np.save(file, maps())
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file'):
        read_cam(tmp_path / 'a.npz')


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'a\.npz: no such CAM file; tools/generate_labels\.py --cams'):
        read_cam(tmp_path / 'a.npz')


def test_wrong_maps_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='cannot write this map: 1 classes need 2 maps'):
        write_cam(tmp_path / 'a.npz', np.array([3]), maps(), (20, 28))
    assert not list(tmp_path.iterdir())


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, **arrays: np.ndarray) -> None:
        file.write(b'half')
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(np, 'savez_compressed', full)
    with pytest.raises(OSError, match=f'no space left in {tmp_path} for a.npz'):
        write_cam(tmp_path / 'a.npz', np.array([3, 15]), maps(), (20, 28))
    assert not list(tmp_path.iterdir())
