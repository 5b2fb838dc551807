"""Repairs to the OpenMMLab stack, so that it imports and runs on today's torch, NumPy and setuptools.

MMEngine 0.10.7, MMCV 2.1.0 and MMSegmentation 1.2.2 were released before torch 2.6, NumPy 2 and setuptools 82. Each
function below mends one thing that has broken since; its docstring names the version that makes it needless, and it
does nothing on a stack that does not need it. :func:`apply` runs them all, and importing ``sipe_mmseg`` calls it.
"""

import importlib.machinery
import importlib.util
import os
import pickle
import re
import sys
import types
import zipfile
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version

_OPS_MODULE = 'mmcv._ext'
# Every file that torch.save wrote before torch 1.6, or with _use_new_zipfile_serialization=False, starts with this.
_OLD_FORMAT_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_NUMBER_CODES = '?bhilqBHILQefd'
_PICKLED_NUMBER_CODES = frozenset(np.dtype(code).str[1:] for code in _NUMBER_CODES)
_HISTORY_STATISTICS = ('min', 'max', 'current', 'mean')


def apply() -> None:
    """Make all repairs; a second call changes nothing.

    Raises:
        ImportError: neither ``mmcv-lite`` nor ``mmcv`` is installed.
    """
    require_mmcv()
    provide_ops_placeholder()
    load_checkpoints_with_allow_list()


# MMCV ---------------------------------------------------------------------------------------------------------------


def require_mmcv() -> None:
    """Say which extra to install where MMCV is missing.

    pip cannot express "one of two packages", so neither can be a plain dependency. Needless once MMSegmentation itself
    depends on an MMCV that installs without compiling (neither 1.2.2 nor onedl-mmsegmentation 1.4.2 does).

    Raises:
        ImportError: neither ``mmcv-lite`` nor ``mmcv`` is installed.
    """
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'sipe_mmseg needs MMCV, and it is not installed. Install one of the two extras, never both:\n'
            '  pip install "sipe-mmseg[lite]"   mmcv-lite 2.1.0: pure Python, seconds; enough for SIPE and DeepLab\n'
            '  pip install "sipe-mmseg[full]"   mmcv 2.1.0: with compiled operators, for models that use them; built '
            'from source in minutes, with "setuptools<82" and the option --no-build-isolation'
        )


def provide_ops_placeholder() -> None:
    """Put a placeholder in the place of MMCV's compiled operators where mmcv-lite is installed.

    Four modules of MMSegmentation import ``mmcv.ops`` whether or not they use it, and with mmcv-lite that fails on
    ``mmcv._ext``. With the placeholder they import, and calling an operator says what to install. Its spec has no
    loader, by which MMEngine's ``mmcv_full_available`` still sees that the operators are missing.

    Does nothing with the full MMCV. Needless from MMSegmentation 1.4 on, which guards these imports (the onedl-* fork
    is there, the original ends with 1.2.2): nothing is done then either.
    """
    import mmseg  # not at the top: it fails without MMCV, and require_mmcv says so better

    if digit_version(mmseg.__version__) < digit_version('1.4') and importlib.util.find_spec(_OPS_MODULE) is None:
        placeholder = _OpsPlaceholder(_OPS_MODULE)
        placeholder.__spec__ = importlib.machinery.ModuleSpec(_OPS_MODULE, loader=None)
        sys.modules[_OPS_MODULE] = placeholder


class _OpsPlaceholder(types.ModuleType):
    """A module in which every public name is a function that raises ImportError when called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # Python asks modules for __path__, __file__ and the like to learn what they are: those must stay missing.
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def missing_operator(*args: Any, **kwargs: Any) -> NoReturn:
            raise ImportError(
                f'the compiled operator {name!r} of MMCV was called, but mmcv-lite, which has none, is installed. '
                'Replace it by the full MMCV: pip uninstall mmcv-lite, then pip install "sipe-mmseg[full]"'
            )

        missing_operator.__name__ = name
        return missing_operator


# Checkpoints --------------------------------------------------------------------------------------------------------


def load_checkpoints_with_allow_list() -> None:
    """Have MMEngine load local checkpoints with :func:`load_local_checkpoint`.

    From torch 2.6 on, ``torch.load`` refuses everything but tensors and plain containers unless told otherwise, and
    MMEngine's own checkpoints hold a ``HistoryBuffer`` and NumPy arrays: testing, resuming and ``init_model`` fail on
    them. Loaders for other prefixes (``https://``, ``s3://``, ...) stay as they are.

    Does nothing before torch 2.6. Needless once MMEngine loads its own checkpoints with ``weights_only=True`` and an
    allow-list: 0.10.7 has no allow-list, and onedl-mmengine 0.10.12 runs whatever its allow-list has just refused.
    """
    if digit_version(torch.__version__) >= digit_version('2.6'):
        CheckpointLoader.register_scheme(prefixes='', loader=load_local_checkpoint, force=True)


def load_local_checkpoint(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint file, building nothing but tensors, plain containers and what MMEngine's checkpoints hold.

    Args:
        filename: path of the file; ``~`` stands for the home folder.
        map_location: as in ``torch.load``.

    Returns:
        The object in the file, a dictionary as a rule.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint.
        pickle.UnpicklingError: the checkpoint names a class or function outside the allow-list; it is not run.
        RuntimeError: torch cannot load it for another reason, such as a file cut short.
    """
    path = os.path.expanduser(filename)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path!r} does not exist or is not a file')
    if not _is_checkpoint(path):
        raise ValueError(
            f'{path!r} is not a PyTorch checkpoint, or was cut short: expected a file written by torch.save, '
            f'found {os.path.getsize(path)} bytes of something else'
        )
    allowed_before = torch.serialization.get_safe_globals()
    additions = [item for item in allowed_globals() if item not in allowed_before]
    try:
        with torch.serialization.safe_globals(additions):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f'checkpoint {path!r} was refused: {_refusal(error)}') from error
    except Exception as error:
        raise RuntimeError(f'checkpoint {path!r} could not be loaded: {type(error).__name__}: {error}') from error


def allowed_globals() -> list[Any]:
    """List what a checkpoint may name beyond torch's own list: classes, and pairs of a function and its pickled name.

    These are what MMEngine's checkpoints hold. NumPy's functions go by two names, as a file keeps the one of the NumPy
    (before 2, or since) that wrote it. ``numpy.dtype`` and ``getattr`` stand for narrower functions.
    """
    rebuild_array = np.empty(0).__reduce__()[0]
    rebuild_number = np.float64(0).__reduce__()[0]
    return [
        HistoryBuffer,
        ConfigDict,
        np.ndarray,
        *{type(np.dtype(code)) for code in _NUMBER_CODES},
        (rebuild_array, 'numpy.core.multiarray._reconstruct'),
        (rebuild_array, 'numpy._core.multiarray._reconstruct'),
        (rebuild_number, 'numpy.core.multiarray.scalar'),
        (rebuild_number, 'numpy._core.multiarray.scalar'),
        (_number_dtype, 'numpy.dtype'),
        (_history_statistic, 'builtins.getattr'),
    ]


def _number_dtype(code: str, *flags: bool) -> np.dtype:
    """Stand in for ``numpy.dtype`` in checkpoints: no objects, no records, only numbers."""
    if code not in _PICKLED_NUMBER_CODES:
        raise pickle.UnpicklingError(f'it asks for numpy.dtype({code!r}), and only numbers are allowed')
    return np.dtype(code, *flags)


def _history_statistic(owner: Any, name: str) -> Callable[..., Any]:
    """Stand in for ``getattr`` in checkpoints: a HistoryBuffer names its own statistics, and nothing else is needed."""
    if owner is not HistoryBuffer or name not in _HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f'it asks for getattr({owner!r}, {name!r}), which is not allowed')
    statistic: Callable[..., Any] = getattr(HistoryBuffer, name)
    return statistic


def _is_checkpoint(path: str) -> bool:
    """Tell whether a file has either of the two formats of ``torch.save``."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith('/data.pkl') for name in archive.namelist())
        except Exception:  # zip files raise errors of every kind on broken bytes
            return False
    with open(path, 'rb') as file:
        return file.read(len(_OLD_FORMAT_MAGIC)) == _OLD_FORMAT_MAGIC


def _refusal(error: pickle.UnpicklingError) -> str:
    """Put torch's long refusal, which advises to load the file unsafely, into one sentence."""
    name = re.search(r'GLOBAL (\S+)', str(error))
    if name is None:
        # torch wraps the first error in advice and hides it; Python keeps it as the context.
        return str(error.__context__ or error)
    return (
        f'it asks for {name[1]!r}, and a checkpoint may only hold tensors, plain values and the records of MMEngine. '
        'Nothing of it was run. If you wrote this file, allow the name with torch.serialization.add_safe_globals first'
    )
