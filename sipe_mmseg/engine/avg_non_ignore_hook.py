"""Unknown pixels left out of the mean of the loss, in a model of any config."""

from typing import Any

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class AvgNonIgnoreHook(Hook):
    """Switch on ``avg_non_ignore`` in every loss of the model that has it, such as mmseg's ``CrossEntropyLoss``.

    The same as ``avg_non_ignore=True`` in each ``loss_decode``, wherever the config's heads are. Pixels of value 255
    never teach anything; without this they still count in the mean, so that crops with many of them weigh less.
    """

    def before_train(self, runner: Any) -> None:
        """Change the losses.

        Raises:
            ValueError: If no loss has the option.
        """
        losses = [module for module in runner.model.modules() if hasattr(module, 'avg_non_ignore')]
        if not losses:
            raise ValueError(
                'AvgNonIgnoreHook: no loss of the model has avg_non_ignore; leave the hook out of custom_hooks'
            )
        for loss in losses:
            loss.avg_non_ignore = True
