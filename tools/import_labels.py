"""Makes label maps of what people drew in an annotation tool: `sipe-mmseg import`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('import'))
