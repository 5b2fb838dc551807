"""Writes the label maps that a trained model predicts for a split, and CAM files: `sipe-mmseg labels`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('labels'))
