"""Writes label maps in the format of an annotation tool: `sipe-mmseg export`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('export'))
