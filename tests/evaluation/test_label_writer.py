"""The metric that writes predictions: files, their contents, its memory and its messages."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS
from PIL import Image

from sipe_mmseg.datasets.cam_files import read_cam
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.result_folder import ResultFolder

CLASSES = ('background', 'cat', 'dog', 'bird')
META = dict(classes=CLASSES, palette=voc_palette(4))


def prediction(name: str, size: tuple[int, int] = (9, 14), **fields: Any) -> dict[str, Any]:
    """A prediction as the test loop hands it on: a dict of dicts."""
    generator = torch.Generator().manual_seed(len(name))
    return dict(
        img_id=name,
        img_path=f'/data/{name}.jpg',
        pred_sem_seg=dict(data=torch.randint(4, (1, *size), generator=generator)),
        localization=dict(is_cam=torch.rand(3, *size, generator=generator)),
        present=dict(classes=torch.tensor([1, 3])),
        **fields,
    )


def writer(**options: Any) -> Any:
    metric = METRICS.build(dict(type='LabelWriter', **options))
    metric.dataset_meta = META
    return metric


def test_writes_label_maps_as_they_are_predicted(tmp_path: Path) -> None:
    metric = writer(output_dir=str(tmp_path / 'out'))
    samples = [prediction('a'), prediction('more/bb', (4, 5))]
    for sample in samples:
        metric.process(None, [sample])
        with Image.open(tmp_path / 'out' / f'{sample["img_id"]}.png') as image:
            assert image.mode == 'P'
            np.testing.assert_array_equal(np.array(image), sample['pred_sem_seg']['data'][0])
            np.testing.assert_array_equal(np.array(image.getpalette()).reshape(-1, 3)[:4], voc_palette(4))
    assert metric.evaluate(2) == {'written': 2}
    assert metric.evaluate(0) == {'written': 0}


def test_writes_cam_files_at_a_stride(tmp_path: Path) -> None:
    ResultFolder(tmp_path / 'cams', '.npz').start({'checkpoint': 1})
    metric = writer(output_dir=str(tmp_path / 'out'), cam_dir=str(tmp_path / 'cams'), cam_stride=4, prefix='labels')
    sample = prediction('a', (8, 12))
    is_cam = sample['localization']['is_cam']
    metric.process(None, [sample])
    cam = read_cam(tmp_path / 'cams' / 'a.npz', 4, ResultFolder(tmp_path / 'cams', '.npz').digest())
    assert (cam.size, cam.classes.tolist(), cam.is_cam.shape) == ((8, 12), [1, 3], (3, 2, 3))
    # At a whole stride of 4, bilinear without corners takes the mean of the four pixels in the middle of each cell.
    middle = is_cam.view(3, 2, 4, 3, 4)[:, :, 1:3, :, 1:3].mean(dim=(2, 4))
    np.testing.assert_allclose(cam.is_cam, middle, atol=1e-3)
    assert metric.evaluate(1) == {'labels/written': 1}


def test_stride_one_keeps_the_label_map(tmp_path: Path) -> None:
    metric = writer(output_dir=str(tmp_path / 'out'), cam_dir=str(tmp_path / 'cams'), cam_stride=1)
    sample = prediction('a')
    metric.process(None, [sample])
    expected = torch.tensor([0, 1, 3])[sample['localization']['is_cam'].half().argmax(dim=0)]
    np.testing.assert_array_equal(read_cam(tmp_path / 'cams' / 'a.npz').label_map(), expected)


def test_keeps_nothing_in_memory(tmp_path: Path) -> None:
    metric = writer(output_dir=str(tmp_path / 'out'), cam_dir=str(tmp_path / 'cams'))
    metric.process(None, [prediction('a')])
    before = {name: repr(value) for name, value in vars(metric).items() if name != '_num_written'}
    for _ in range(20):
        metric.process(None, [prediction('a')])
    assert metric.results == []
    assert {name: repr(value) for name, value in vars(metric).items() if name != '_num_written'} == before


def test_any_model_of_mmseg(tmp_path: Path) -> None:
    """Samples of mmseg's own data sets have no id, and their models no localisation maps."""
    sample = prediction('a')
    for key in ('img_id', 'localization', 'present'):
        del sample[key]
    writer(output_dir=str(tmp_path / 'out')).process(None, [sample])
    assert (tmp_path / 'out' / 'a.png').is_file()
    with pytest.raises(ValueError, match=r'a\.jpg: this model predicts no localization\.is_cam .*leave cam_dir'):
        writer(output_dir=str(tmp_path / 'out'), cam_dir=str(tmp_path / 'cams')).process(None, [sample])


@pytest.mark.parametrize('name', ['../a', '/tmp/a', 'a/../../b'])
def test_ids_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    metric = writer(output_dir=str(tmp_path / 'out' / 'put'), cam_dir=str(tmp_path / 'out' / 'cams'))
    with pytest.raises(ValueError, match='its result would not lie in'):
        metric.process(None, [prediction(name)])
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_no_space_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, file: Path, **kwargs: str) -> None:
        Path(file).write_bytes(b'\x89PNG')
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(Image.Image, 'save', full)
    metric = writer(output_dir=str(tmp_path / 'out'))
    with pytest.raises(OSError, match=r'no space left in .*out for a\.png: free some'):
        metric.process(None, [prediction('a')])
    assert ResultFolder(tmp_path / 'out', '.png').missing(['a']) == ['a']
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_wrong_stride() -> None:
    with pytest.raises(ValueError, match='cam_stride must be at least 1, not 0'):
        writer(output_dir='out', cam_stride=0)
