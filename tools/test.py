"""Scores a checkpoint: MMSegmentation's own tools/test.py, found in the installed package, with the same options.

    python tools/test.py CONFIG CHECKPOINT           one scale
    python tools/test.py CONFIG CHECKPOINT --tta     all scales and their mirrors, as published
    ... --out DIR                                    write IS-CAM's label maps, too

Several GPUs: tools/dist_test.sh.
"""

from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool

if __name__ == '__main__':
    run_mmseg_tool('test.py')
