"""Renders the instances of COCO 2014 as masks of 81 classes: `sipe-mmseg convert coco14`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('convert coco14'))
