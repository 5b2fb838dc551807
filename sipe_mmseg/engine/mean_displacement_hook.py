"""IRN's mean displacement, measured when the training is done."""

import copy
from typing import Any

import torch
from mmcv.transforms import Compose
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

from .model_state import unwrapped


@HOOKS.register_module()
class MeanDisplacementHook(Hook):
    """Measure the mean displacement over the training images and store it in the head (published training of IRN).

    The displacement branch knows differences only; its mean is what :class:`~sipe_mmseg.models.irn_head.IRNHead`
    subtracts at test time. It is taken over all pixels of the training images' top left crops, unscaled, what is
    missing of a crop being 0. This is done right after the last training step and so before ``CheckpointHook`` saves
    the last checkpoint, which therefore always holds both, also when a run is resumed; a resumed run that had reached
    its end has nothing left to do.

    Args:
        crop_size: Side of the crops in pixels or (height, width). None takes ``size`` of the model's preprocessor, that
            of the training crops.
        batch_size: Images of a process at a time. None takes that of the training.
    """

    priority = 'NORMAL'

    def __init__(self, crop_size: int | tuple[int, int] | None = None, batch_size: int | None = None) -> None:
        self.crop_size = crop_size
        self.batch_size = batch_size

    def before_train(self, runner: Any) -> None:
        """Complain now about what would stop the measuring after the last step.

        Raises:
            TypeError: If the training data set has no pipeline of its own that can be replaced, or the head no buffer.
            ValueError: If there is no size of crops.
        """
        self._loader(runner)
        head = unwrapped(runner.model).decode_head
        if not hasattr(head, 'mean_displacement'):
            raise TypeError(f'MeanDisplacementHook: {type(head).__name__} has no displacements; it is for IRNHead')

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """After the last step, measure and store."""
        if not self.is_last_train_iter(runner):
            return
        model = unwrapped(runner.model)
        training = model.training
        model.eval()
        total, count = torch.zeros(2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for batch in self._loader(runner):
                data = model.data_preprocessor(batch, True)  # as in training, 0 around an image
                maps = model.decode_head.displacement(model.extract_feat(data['inputs']))
                total += maps.double().mean(dim=(2, 3)).sum(dim=0).cpu()
                count += len(maps)
        all_reduce(total)
        all_reduce(count)
        model.train(training)
        buffer = model.decode_head.mean_displacement
        buffer.copy_(total / count)
        print_log(
            f'Mean displacement over {int(count)} training images: '
            f'dy {float(buffer[0]):.4f}, dx {float(buffer[1]):.4f} cells',
            'current',
        )

    def _loader(self, runner: Any) -> DataLoader[Any]:
        """All training images once, in top left crops."""
        loader = runner.train_dataloader
        if not hasattr(loader.dataset, 'pipeline'):
            raise TypeError(
                f'MeanDisplacementHook: {type(loader.dataset).__name__} has no pipeline of its own; '
                'train on a data set without a wrapper such as ConcatDataset or RepeatDataset'
            )
        crop_size = self.crop_size or unwrapped(runner.model).data_preprocessor.size
        if crop_size is None:
            raise ValueError('MeanDisplacementHook: give it a crop_size, or model.data_preprocessor a size')
        dataset = copy.copy(loader.dataset)
        dataset.pipeline = Compose(
            [
                dict(type='LoadImageFromFile'),
                dict(type='TopLeftCropOrPaste', crop_size=crop_size),
                dict(type='PackImageLevelInputs'),
            ]
        )
        return DataLoader(
            dataset,
            batch_size=self.batch_size or loader.batch_size,
            sampler=DefaultSampler(dataset, shuffle=False, round_up=False),
            num_workers=loader.num_workers,
            collate_fn=pseudo_collate,
        )
