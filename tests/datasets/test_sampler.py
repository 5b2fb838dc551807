import copy
import pickle
import random

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS
from PIL import Image
from torch.utils.data import DataLoader

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.image_level_dataset import ImageLevelDataset
from sipe_mmseg.datasets.sampler import SampleIndex, SeededSampler, sample_randomness

COUNT = 12


def draw(results):
    """Stands for random transforms: one number of each global generator."""
    return results['sample_idx'], random.random(), np.random.uniform()


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / 'cat').mkdir()
    for index in range(COUNT):
        Image.new('L', (16, 16), index).save(tmp_path / 'cat' / f'{index:02}.png')
    return ImageLevelDataset(
        {'folders': ''}, data_root=str(tmp_path), metainfo={'classes': ('background', 'cat')}, pipeline=[draw]
    )


def drawn(dataset, seed=3, epoch=0, shuffle=True, **options):
    """Index -> the numbers that its pipeline drew."""
    sampler = SeededSampler(dataset, shuffle=shuffle, seed=seed)
    sampler.set_epoch(epoch)
    samples = [sample for batch in DataLoader(dataset, sampler=sampler, collate_fn=list, **options) for sample in batch]
    assert sorted(index for index, *_ in samples) == list(range(COUNT))
    return {index: numbers for index, *numbers in samples}


class TestSampleIndex:
    def test_is_an_int_that_knows_where_it_comes_from(self):
        index = SampleIndex(7, 3, 2)
        assert (index, index.seed, index.epoch, [0] * 7 + [1]) == (7, 3, 2, [0] * index + [1])

    @pytest.mark.parametrize(
        'copied', [copy.copy, copy.deepcopy, *(lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in range(6))]
    )
    def test_survives_copying_and_pickling(self, copied):
        index = copied(SampleIndex(7, 3, 2))
        assert (type(index), index, index.seed, index.epoch) == (SampleIndex, 7, 3, 2)


class TestSeededSampler:
    @pytest.mark.parametrize('shuffle', [True, False])
    def test_order_is_the_default_samplers(self, shuffle):
        sampler = DATA_SAMPLERS.build({'type': 'SeededSampler', 'dataset': range(10), 'shuffle': shuffle, 'seed': 5})
        default = DefaultSampler(range(10), shuffle=shuffle, seed=5)
        for epoch in (0, 3):
            sampler.set_epoch(epoch)
            default.set_epoch(epoch)
            indices = list(sampler)
            assert indices == list(default)
            assert {(index.seed, index.epoch) for index in indices} == {(5, epoch)}


class TestRandomness:
    def test_same_for_any_number_of_workers_and_order(self, dataset):
        expected = drawn(dataset, num_workers=0, batch_size=1)
        np.random.seed(99)
        random.seed(99)
        assert drawn(dataset, num_workers=2, batch_size=5) == expected
        assert drawn(dataset, num_workers=1, batch_size=3, shuffle=False) == expected
        assert drawn(dataset, num_workers=2, batch_size=1, persistent_workers=True) == expected

    def test_other_for_another_index_epoch_or_seed(self, dataset):
        numbers = [
            number
            for seed, epoch in ((3, 0), (3, 1), (4, 0))
            for sample in drawn(dataset, seed, epoch).values()
            for number in sample
        ]
        assert len(set(numbers)) == len(numbers) == 3 * COUNT * 2

    def test_processes_of_a_distributed_run_agree_with_one_process(self, dataset):
        expected = drawn(dataset)
        found = {}
        for rank in range(2):
            sampler = SeededSampler(dataset, seed=3)
            sampler.rank, sampler.world_size, sampler.num_samples = rank, 2, COUNT // 2
            found.update({index: numbers for index, *numbers in map(dataset.__getitem__, sampler)})
        assert found == expected

    def test_global_state_is_put_back(self, dataset):
        random.seed(1)
        np.random.seed(1)
        expected = random.random(), np.random.uniform()
        random.seed(1)
        np.random.seed(1)
        dataset[SampleIndex(0, 3, 0)]
        with pytest.raises(KeyError), sample_randomness(SampleIndex(0, 3, 0)):
            np.random.uniform()
            raise KeyError
        assert (random.random(), np.random.uniform()) == expected

    def test_plain_index_uses_the_global_state(self, dataset):
        random.seed(1)
        np.random.seed(1)
        expected = random.random(), np.random.uniform()
        random.seed(1)
        np.random.seed(1)
        assert dataset[4] == (4, *expected)
