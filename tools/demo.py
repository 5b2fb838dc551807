"""The whole of SIPE in a few minutes, on the built-in data set: `sipe-mmseg demo`."""

import sys

from sipe_mmseg_cli.main import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('demo'))
