"""CAM files on their way into a sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from PIL import Image

from sipe_mmseg.datasets.cam_files import write_cam
from sipe_mmseg.datasets.cam_transforms import LoadCAM
from sipe_mmseg.datasets.result_folder import ResultFolder

SIZE = (18, 25)


def is_cam(count: int) -> np.ndarray:
    return np.random.default_rng(count).random((count + 1, 5, 7)).astype(np.float16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CAM files of the images a (classes 2 and 4) and sub/b (no class)."""
    (tmp_path / 'settings.json').write_text(json.dumps(dict(checkpoint='1')))
    digest = ResultFolder(tmp_path, '.npz').digest()
    write_cam(tmp_path / 'a.npz', np.array([2, 4]), is_cam(2), SIZE, digest)
    write_cam(tmp_path / 'sub' / 'b.npz', np.array([], np.int64), is_cam(0), SIZE, digest)
    return tmp_path


def results(image_id: str, **changes: Any) -> dict[str, Any]:
    image = np.zeros((*SIZE, 3), np.uint8)
    return dict(img=image, img_id=image_id, img_path=f'{image_id}.jpg', img_shape=SIZE, num_classes=6) | changes


@pytest.mark.parametrize(('image_id', 'classes'), [('a', [2, 4]), ('sub/b', [])])
def test_sample_has_classes_and_maps_as_data(folder: Path, image_id: str, classes: list[int]) -> None:
    pipeline = Compose([dict(type='LoadCAM', cam_dir=str(folder)), dict(type='PackImageLevelInputs')])
    sample = pipeline(results(image_id))['data_samples']
    assert sample.cam.classes.tolist() == classes
    assert (sample.cam.classes.dtype, sample.cam.is_cam.dtype) == (torch.int64, torch.float32)
    np.testing.assert_array_equal(sample.cam.is_cam.numpy(), is_cam(len(classes)).astype(np.float32))
    assert sample.to('meta').cam.is_cam.is_meta  # moves along to the device


def test_file_written_by_numpy_alone(tmp_path: Path) -> None:
    arrays = dict(classes=np.array([1]), is_cam=is_cam(1), size=np.array(SIZE), made_with=np.array(''))
    np.savez(tmp_path / 'a.npz', **arrays)
    assert LoadCAM(str(tmp_path))(results('a'))['cam_classes'].tolist() == [1]


def test_through_a_whole_test_pipeline(folder: Path) -> None:
    Image.new('RGB', SIZE[::-1]).save(folder / 'a.png')
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadScoringMask'), dict(type='LoadCAM', cam_dir=str(folder))]
    pipeline = Compose([*steps, dict(type='PackImageLevelInputs')])
    packed = pipeline(dict(img_path=str(folder / 'a.png'), img_id='a', num_classes=6, seg_fields=[]))
    assert packed['data_samples'].cam.is_cam.shape == (3, 5, 7)
    assert packed['inputs'].shape == (3, *SIZE)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no folder .*cams, .*generate_labels\.py --cams .*CAM_FILES'):
        LoadCAM(str(tmp_path / 'cams'))


def test_no_file(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'c\.npz: no such CAM file'):
        LoadCAM(str(folder))(results('c'))


def test_an_id_that_leaves_the_folder(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"image id '\.\./a'"):
        LoadCAM(str(folder))(results('../a'))


def test_a_file_of_another_image(folder: Path) -> None:
    with pytest.raises(ValueError, match=r'a\.npz: made from an image of 18 x 25 pixels, but a\.jpg has 25 x 18'):
        LoadCAM(str(folder))(results('a', img_shape=SIZE[::-1]))


def test_a_file_of_another_data_set(folder: Path) -> None:
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file of this data set: it has class 4, but there are 4'):
        LoadCAM(str(folder))(results('a', num_classes=4))


def test_a_file_made_with_other_settings_than_its_folder_says(folder: Path) -> None:
    write_cam(folder / 'a.npz', np.array([2]), is_cam(1), SIZE, 'another')
    with pytest.raises(ValueError, match=r'a\.npz: made with another checkpoint or other settings'):
        LoadCAM(str(folder))(results('a'))


def test_a_file_cut_short(folder: Path) -> None:
    path = folder / 'a.npz'
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r'a\.npz: not a CAM file, or cut short'):
        LoadCAM(str(folder))(results('a'))
