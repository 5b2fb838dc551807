"""``python -m sipe_mmseg_cli``: the same as ``sipe-mmseg``."""

import sys

from .main import main

if __name__ == '__main__':
    sys.exit(main())
