"""Batches of images that have one size, so that none of them has to be padded."""

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS
from PIL import Image
from torch.utils.data import BatchSampler

from .image_files import image_size

_READERS = 8  # threads; they wait for the disk together


def equal_size_batches(sizes: Sequence[Hashable], batch_size: int) -> list[list[int]]:
    """Put the places of equal sizes into batches, each in the order of its last place; smaller batches come at the end.

    Args:
        sizes: Size of each image, or anything that only images for one batch share.
        batch_size: Images in a batch, at most.

    Returns:
        Places in ``sizes``, each of them once.
    """
    batches: list[list[int]] = []
    waiting: dict[Hashable, list[int]] = {}
    for place, size in enumerate(sizes):
        batch = waiting.setdefault(size, [])
        batch.append(place)
        if len(batch) == batch_size:
            batches.append(waiting.pop(size))
    return [*batches, *waiting.values()]


@DATA_SAMPLERS.register_module()
class EqualSizeBatchSampler(BatchSampler):
    """Put images of the same size into a batch, for inference: each image's maps are those that it has alone.

    A batch is given out when it is full; what is left over comes at the end, in smaller batches. With a batch size
    above 1, the headers of all images are read once, before the first batch; an image whose header cannot be read makes
    a batch of its own.

    Args:
        sampler: Sampler of MMEngine that gives the same indices in the same order every time (``shuffle=False``).
        batch_size: Images in a batch, at most.

    Raises:
        ValueError: If the sampler shuffles, or the batch size is less than 1.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int) -> None:
        if getattr(sampler, 'shuffle', False):
            raise ValueError('EqualSizeBatchSampler is for inference: its sampler must have shuffle=False')
        super().__init__(sampler, batch_size, drop_last=False)
        self._dataset = sampler.dataset
        self._batches: list[list[int]] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._planned()

    def __len__(self) -> int:
        return len(self._planned())

    def _planned(self) -> list[list[int]]:
        if self._batches is None:
            self._batches = self._plan()
        return self._batches

    def _plan(self) -> list[list[int]]:
        indices = list(self.sampler)
        if self.batch_size == 1:
            return [[index] for index in indices]
        with ThreadPoolExecutor(_READERS) as pool:
            sizes = list(pool.map(self._size, indices))
        return [[indices[place] for place in batch] for batch in equal_size_batches(sizes, self.batch_size)]

    def _size(self, index: int) -> Hashable:
        """(width, height) of an image; its index, which no other image shares, if the header cannot be read."""
        try:
            return image_size(self._dataset.get_data_info(index)['img_path'])
        except (OSError, Image.DecompressionBombError):
            return index
