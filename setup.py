"""Puts configs and tools into the wheel, as ``sipe_mmseg/.mim``; everything else is in ``pyproject.toml``.

``.mim`` is where OpenMMLab's packages carry them and where ``mim`` looks. An editable installation copies nothing:
there the folders beside the package count.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CARRIED = ('configs', 'tools', 'model-index.yml')


class BuildWithConfigs(build_py):
    """``build_py`` that copies them into the folder of which the wheel is made."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'sipe_mmseg', '.mim')
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        target.mkdir(parents=True)
        for name in CARRIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copyfile(ROOT / name, target / name)


setup(cmdclass={'build_py': BuildWithConfigs})
