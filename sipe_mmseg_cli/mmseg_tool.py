"""Any other tool of MMSegmentation, with this package imported first.

    %(prog)s misc/print_config.py CONFIG
    %(prog)s analysis_tools/analyze_logs.py work_dirs/my_run/*/vis_data/scalars.json --keys loss_cls

Started by themselves, many of them stop at once where mmcv-lite is installed; docs/troubles.md says which of them work.
"""

import sys
from collections.abc import Sequence

from .main import CommandError


def main(words: Sequence[str], prog: str) -> int:
    """Run the tool that the first word names; the others are its own."""
    if not words or words[0].startswith('-'):
        asked = list(words) in (['-h'], ['--help'])
        print((__doc__ or '') % dict(prog=prog), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 1
    import sipe_mmseg  # noqa: F401  # registers everything
    from sipe_mmseg.engine.mmseg_tools import find_mmseg_tool, run_mmseg_tool

    try:
        find_mmseg_tool(words[0])
    except OSError as error:
        raise CommandError(error) from error
    run_mmseg_tool(words[0], words[1:])
    return 0
