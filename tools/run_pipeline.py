"""Runs a pipeline, from image-level labels to a segmentation network: `sipe-mmseg pipeline`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('pipeline'))
