"""Batches of one size: every image once, in full batches, the same plan every time."""

from pathlib import Path

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.image_level_dataset import ImageLevelDataset

SIZES = [(40, 30), (30, 40), (40, 30), (40, 31), (40, 30), (30, 40)]


def data_set(folder: Path) -> ImageLevelDataset:
    (folder / 'cat').mkdir()
    for index, size in enumerate(SIZES):
        Image.new('RGB', size).save(folder / 'cat' / f'{index}.png')
    return ImageLevelDataset(
        {'folders': ''},
        data_root=str(folder),
        metainfo={'classes': ('background', 'cat')},
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackImageLevelInputs')],
        test_mode=True,
    )


def batches(dataset: ImageLevelDataset, batch_size: int) -> list[list[int]]:
    sampler = DefaultSampler(dataset, shuffle=False)
    batch_sampler = DATA_SAMPLERS.build(
        dict(type='EqualSizeBatchSampler'), default_args=dict(sampler=sampler, batch_size=batch_size)
    )
    planned = list(batch_sampler)
    assert len(batch_sampler) == len(planned)
    assert list(batch_sampler) == planned
    return planned


@pytest.mark.parametrize(
    ('batch_size', 'expected'),
    [
        (1, [[0], [1], [2], [3], [4], [5]]),
        (2, [[0, 2], [1, 5], [3], [4]]),
        (3, [[0, 2, 4], [1, 5], [3]]),
        (9, [[0, 2, 4], [1, 5], [3]]),
    ],
)
def test_every_image_once_beside_others_of_its_size(tmp_path: Path, batch_size: int, expected: list) -> None:
    assert batches(data_set(tmp_path), batch_size) == expected


def test_an_unreadable_image_stands_alone(tmp_path: Path) -> None:
    dataset = data_set(tmp_path)
    for name in ('2.png', '4.png'):
        (tmp_path / 'cat' / name).write_bytes(b'no image')
    assert batches(dataset, 9) == [[0], [1, 5], [2], [3], [4]]


def test_an_image_too_large_to_open_has_a_batch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data_set(tmp_path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1)
    assert batches(dataset, 9) == [[index] for index in range(len(SIZES))]


def test_one_image_at_a_time_reads_no_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data_set(tmp_path)
    monkeypatch.setattr('sipe_mmseg.datasets.equal_size_batches.image_size', lambda path: pytest.fail(path))
    assert len(batches(dataset, 1)) == len(SIZES)


def test_in_a_config(tmp_path: Path) -> None:
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_sampler=dict(type='EqualSizeBatchSampler'),
            dataset=data_set(tmp_path),
        )
    )
    shapes = [[tuple(image.shape[1:]) for image in batch['inputs']] for batch in loader]
    assert shapes == [[(30, 40)] * 2, [(40, 30)] * 2, [(31, 40)], [(30, 40)]]
    assert len(loader) == 4


def test_shuffling_is_refused(tmp_path: Path) -> None:
    sampler = DefaultSampler(data_set(tmp_path), shuffle=True)
    with pytest.raises(ValueError, match='its sampler must have shuffle=False'):
        DATA_SAMPLERS.build(dict(type='EqualSizeBatchSampler'), default_args=dict(sampler=sampler, batch_size=2))
