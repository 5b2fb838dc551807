"""The same few images drawn all through a training."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmseg.registry import DATASETS, HOOKS

from ..datasets.image_files import read_rgb
from ..datasets.result_folder import image_id
from ..engine.model_state import evaluating, unwrapped
from .gallery import image_indices


@HOOKS.register_module()
class CAMVisualizationHook(Hook):
    """Draw the same few images before, all through and after a training, so that one sees the maps grow.

    The images come from the validation's data set or, without validation, from that of ``test_dataloader``. They are
    predicted at one scale, as in validation, and drawn by the Runner's visualizer under ``maps_<image id>`` and the
    number of iterations done. The training has the same weights as without the hook, bit for bit.

    Args:
        interval: Draw every so many epochs or iterations, and after the last one.
        by_epoch: Whether ``interval`` counts epochs; if not, iterations.
        num: How many images, evenly spread over the data set from its first to its last. Not used with ``image_ids``.
        image_ids: Which images.

    Raises:
        ValueError: If ``interval`` or ``num`` is below 1, or ``image_ids`` is empty.
    """

    priority = 'LOW'

    def __init__(
        self, interval: int = 1, by_epoch: bool = True, num: int = 4, image_ids: Sequence[str] | None = None
    ) -> None:
        for name, value in (('interval', interval), ('num', num)):
            if value < 1:
                raise ValueError(f'CAMVisualizationHook: {name} must be at least 1, not {value}')
        if isinstance(image_ids, str):
            image_ids = [image_ids]
        if image_ids is not None and not image_ids:
            raise ValueError('CAMVisualizationHook: image_ids is empty; name images, or leave it out for num of them')
        self.interval = interval
        self.by_epoch = by_epoch
        self.num = num
        self.image_ids = image_ids

    def before_train(self, runner: Any) -> None:
        """Choose the images and, unless the training goes on from a checkpoint, draw them for the first time.

        Raises:
            ValueError: If there is no data set to take them from, or it has no image of an id.
        """
        self._dataset = _dataset(runner)
        if self.image_ids is None:
            last = len(self._dataset) - 1
            self._indices = sorted({round(place) for place in np.linspace(0, last, min(self.num, last + 1))})
        else:
            self._indices = image_indices(self._dataset, self.image_ids)
        if runner.iter == 0:
            self._draw(runner, 0)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Draw where iterations count."""
        if not self.by_epoch and (self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)):
            self._draw(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Any) -> None:
        """Draw where epochs count."""
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            self._draw(runner, runner.iter)

    @master_only
    def _draw(self, runner: Any, step: int) -> None:
        """Predict the images with the model inside its wrapper, which waits for no other process, and draw them."""
        model = unwrapped(runner.model)
        with _random_states_kept(), evaluating(model), torch.no_grad():
            for index in self._indices:
                (sample,) = model.val_step(pseudo_collate([self._dataset[index]]))
                info = self._dataset.get_data_info(index)
                image = read_rgb(info['img_path'])
                # A name with a slash would be a folder, which LocalVisBackend does not make.
                name = f'maps_{image_id(info)}'.replace('/', '_')
                runner.visualizer.add_datasample(name, image, sample, step=step)


def _dataset(runner: Any) -> Any:
    if runner.val_loop is not None:
        return runner.val_dataloader.dataset
    if not runner.cfg.get('test_dataloader'):
        raise ValueError(
            'CAMVisualizationHook: the config has neither val_dataloader nor test_dataloader, whose data set has the '
            'images to draw'
        )
    return DATASETS.build(runner.cfg.test_dataloader.dataset)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Draw random numbers without taking any from those outside."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
