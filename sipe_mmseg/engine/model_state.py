"""The model itself, and a way to evaluate it that leaves no trace."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

_LINES = 5
_LINE = 200  # characters of a line that may list all tensors of a model


def unwrapped(model: nn.Module) -> Any:
    """The model inside a wrapper such as ``MMDistributedDataParallel``; any other model as it is."""
    return model.module if is_model_wrapper(model) else model


def read_weights(model: nn.Module, checkpoint: str | Path, config: Config, whole: bool = True) -> None:
    """Load a checkpoint from a file or an address; the rest as in :func:`load_weights`."""
    content = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu')
    load_weights(model, content, f'{checkpoint} does not fit the model of {config.filename}', whole)


def load_weights(model: nn.Module, checkpoint: Any, where: str, whole: bool = True) -> None:
    """Load a checkpoint, every tensor that the model has; MMEngine alone would go on with random ones.

    Args:
        model: The model.
        checkpoint: What is in the file: a state dict, or a dict with one as ``state_dict``.
        where: What the checkpoint and the model's config are called, for errors.
        whole: Whether tensors that the model has no place for are an error, too.

    Raises:
        ValueError: If it is that of another model.
    """
    try:
        _load_checkpoint_to_model(model, checkpoint, strict=True)
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines()[1:] if line.strip()]
        problems = [line for line in lines if whole or not line.startswith('unexpected key')]
        if problems:
            raise ValueError('\n  '.join([f'{where}:', *_some(problems)])) from error


def _some(problems: Sequence[str]) -> list[str]:
    """The last lines, which are about the head and tell most, and how many there are."""
    shown = [line if len(line) <= _LINE else f'{line[: _LINE - 3]}...' for line in problems[-_LINES:]]
    return shown if len(problems) <= _LINES else [f'{len(problems) - _LINES} more of the kind, and', *shown]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for all modules, and after it each module's own mode again.

    Without ``eval()``, which in backbones does more than that: mmseg's ResNet freezes parameters.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
