"""Any other tool of MMSegmentation, with this package imported first.

    python tools/mmseg_tool.py misc/print_config.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py
    python tools/mmseg_tool.py analysis_tools/analyze_logs.py work_dirs/my_run/*/vis_data/scalars.json --keys loss_cls

Started by themselves, many of them stop at once where mmcv-lite is installed; docs/troubles.md says which of them work.
"""

import sys

from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith('-'):
        print(__doc__, file=sys.stdout if sys.argv[1:2] in (['-h'], ['--help']) else sys.stderr)
        return int(sys.argv[1:2] not in (['-h'], ['--help']))
    try:
        run_mmseg_tool(sys.argv.pop(1))
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
