"""Draws what a trained model finds, side by side: `sipe-mmseg overlays`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('overlays'))
