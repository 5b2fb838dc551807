"""Scores a checkpoint: MMSegmentation's own tools/test.py, found in the installed package, with the same options.

    %(prog)s CONFIG CHECKPOINT                one scale
    %(prog)s CONFIG CHECKPOINT --tta          all scales and their mirrors, as published
    %(prog)s work_dirs/my_run --tta           the last checkpoint of a work directory
    %(prog)s CONFIG CHECKPOINT --out DIR      write IS-CAM's label maps, too

CONFIG comes first: a file, a work directory or the name of a shipped config. Several GPUs:

    torchrun --nproc-per-node 4 -m sipe_mmseg test CONFIG CHECKPOINT --launcher pytorch
"""

from collections.abc import Sequence

from .arguments import changes_among, check_script, find_model, load_config, script_words
from .main import CommandError


def main(words: Sequence[str], prog: str) -> int:
    """Run MMSegmentation's script, which reads the options itself."""
    words = script_words(words, __doc__, prog)
    import sipe_mmseg  # noqa: F401  # registers everything
    from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool

    if not words[0].startswith('-'):
        named = len(words) > 1 and not words[1].startswith('-')
        try:
            config, checkpoint = find_model(words[0], words[1] if named else None)
            words = [str(config), checkpoint, *words[2 if named else 1 :]]
            check_script(words, prog)
            _check_checkpoint(words)
        except (OSError, ValueError) as error:
            raise CommandError(error) from error
    run_mmseg_tool('test.py', words)
    return 0


def _check_checkpoint(words: Sequence[str]) -> None:
    """Make sure that the checkpoint has all that the model needs: the script itself would go on with random weights."""
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from sipe_mmseg.engine.model_state import read_weights

    config = load_config(words[0])
    config.merge_from_dict(changes_among(words))
    init_default_scope(config.get('default_scope') or 'mmseg')
    read_weights(MODELS.build(config.model), words[1], config, whole=False)
