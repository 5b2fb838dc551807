"""Trains a config: MMSegmentation's own tools/train.py, found in the installed package, with the same options.

    python tools/train.py configs/sipe/sipe_r50_1xb16-5e_voc12aug-512x512.py [--resume] [--amp] [--work-dir DIR] ...

Several GPUs: tools/dist_train.sh.
"""

from sipe_mmseg.engine.mmseg_tools import run_mmseg_tool

if __name__ == '__main__':
    run_mmseg_tool('train.py')
