"""Turns checkpoints of the published SIPE and IRN into ours, and back: `sipe-mmseg convert checkpoint`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('convert checkpoint'))
