"""Trains a config: MMSegmentation's own tools/train.py, with the same options: `sipe-mmseg train`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('train'))
