"""Any other tool of MMSegmentation, with this package imported first: `sipe-mmseg mmseg`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('mmseg'))
