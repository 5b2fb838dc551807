"""Scores a folder of label maps: `sipe-mmseg evaluate`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('evaluate'))
