"""Draws and scores the maps of other methods beside ours: `sipe-mmseg compare`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('compare'))
