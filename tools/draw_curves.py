"""Draws losses, learning rate, mIoU and mAP of a training as curves: `sipe-mmseg curves`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('curves'))
