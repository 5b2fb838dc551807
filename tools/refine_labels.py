"""Refines label maps by the dense CRF, or turns CAM files into IR labels: `sipe-mmseg refine`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('refine'))
