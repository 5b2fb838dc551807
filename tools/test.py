"""Scores a checkpoint: MMSegmentation's own tools/test.py, with the same options: `sipe-mmseg test`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('test'))
