"""Turns a checkpoint of the published SIPE or IRN into one of ours: `sipe-mmseg convert checkpoint`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('convert checkpoint'))
