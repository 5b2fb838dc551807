"""``python -m sipe_mmseg``: the same as ``sipe-mmseg``."""

import sys

from sipe_mmseg_cli.main import main

if __name__ == '__main__':
    sys.exit(main())
