"""The poly schedule of the paper for any number of images and epochs."""

from typing import Any

from mmengine.optim import PolyLR
from mmseg.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class ExactPolyLR(PolyLR):
    """``lr = eta_min + (lr0 - eta_min) * (1 - t / T) ** power`` for iteration t = 0 .. T - 1 (SIPE, section 4.1).

    MMEngine's ``PolyLR`` reaches ``eta_min`` one step early unless ``end`` is ``T + 1``, which must then be counted by
    hand. Here T is ``end - begin``: with ``by_epoch=True, convert_to_iter_based=True`` and no ``end`` it is all
    iterations of the training, whatever ``max_epochs`` and the size of the data set are. The arguments are those of
    ``PolyLR``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.total_iters = self.end - self.begin

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, epoch_length: int | None = None, **kwargs: Any) -> 'ExactPolyLR':
        """As in ``PolyLR``.

        Raises:
            ValueError: If an epoch has no iterations.
        """
        if epoch_length == 0:
            raise ValueError(
                'an epoch has no iterations: the training set has fewer images than a batch, and train_dataloader '
                'drops incomplete ones (drop_last=True): give it a smaller batch_size'
            )
        scheduler: ExactPolyLR = super().build_iter_from_epoch(*args, epoch_length=epoch_length, **kwargs)
        return scheduler
