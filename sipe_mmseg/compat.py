"""Repairs to the OpenMMLab stack, so that it imports and runs on today's torch, NumPy and setuptools.

MMEngine 0.10.7, MMCV 2.1.0 and MMSegmentation 1.2.2 were released before torch 2.6, NumPy 2 and setuptools 82. Each
function below mends one thing that has broken since, or lets nobody in through a checkpoint; its docstring names the
version that makes it needless. :func:`apply` runs them all, and importing ``sipe_mmseg`` calls it.
"""

import functools
import importlib.machinery
import importlib.util
import os
import pickle
import re
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable
from typing import IO, Any, NoReturn
from unittest import mock
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import numpy as np
import numpy.typing as npt
import torch
from mmengine.config import ConfigDict
from mmengine.infer import BaseInferencer
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version

_OPS_MODULE = 'mmcv._ext'
# Every file that torch.save wrote before torch 1.6, or with _use_new_zipfile_serialization=False, starts with this.
_OLD_FORMAT_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_PICKLED_TEXT = re.compile(r'U[1-9]\d{0,5}')
_LAST_CODE_POINT = 0x10FFFF
_PICKLED_NUMBER_CODES = frozenset(np.dtype(code).str[1:] for code in '?bhilqBHILQefd')
_HISTORY_STATISTICS = ('min', 'max', 'current', 'mean')


def apply() -> None:
    """Make all repairs; a second call changes nothing.

    Raises:
        ImportError: torch is too old, or neither ``mmcv-lite`` nor ``mmcv`` is installed.
    """
    require_torch()
    require_mmcv()
    provide_ops_placeholder()
    load_checkpoints_with_allow_list()
    refuse_configs_of_checkpoints()


# torch --------------------------------------------------------------------------------------------------------------


def require_torch() -> None:
    """Say which torch is needed where an older one came in past the requirements, as with ``pip install --no-deps``.

    Raises:
        ImportError: torch is older than 2.10.
    """
    if digit_version(torch.__version__) < digit_version('2.10'):
        raise ImportError(
            f'sipe_mmseg needs torch 2.10 or later, and {torch.__version__} is installed: in older ones a checkpoint '
            'made for it can run code although it is loaded with weights_only=True (CVE-2025-32434 before 2.6, '
            'CVE-2026-24747 before 2.10)'
        )


# MMCV ---------------------------------------------------------------------------------------------------------------


def require_mmcv() -> None:
    """Say which package to install where MMCV is missing.

    pip cannot express "one of two packages", so neither can be a plain dependency. Needless once MMSegmentation itself
    depends on an MMCV that installs without compiling (neither 1.2.2 nor onedl-mmsegmentation 1.4.2 does).

    Raises:
        ImportError: neither ``mmcv-lite`` nor ``mmcv`` is installed.
    """
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'sipe_mmseg needs MMCV, and it is not installed. Install one of its two packages, never both:\n'
            '  pip install mmcv-lite==2.1.0                    pure Python, seconds; enough for SIPE and DeepLab\n'
            '  pip install --no-build-isolation mmcv==2.1.0    with compiled operators, for models that use them; '
            'built from source in minutes, after pip install "setuptools<82"'
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
                'Replace it by the full MMCV: pip uninstall mmcv-lite, then pip install "setuptools<82", then '
                'pip install --no-build-isolation mmcv==2.1.0'
            )

        missing_operator.__name__ = name
        return missing_operator


# Checkpoints --------------------------------------------------------------------------------------------------------


def load_checkpoints_with_allow_list() -> None:
    """Have MMEngine load every checkpoint with :func:`load_local_checkpoint`, wherever it comes from.

    From torch 2.6 on, ``torch.load`` refuses everything but tensors and plain containers unless told otherwise, and
    MMEngine's own checkpoints hold a ``HistoryBuffer`` and NumPy arrays: testing, resuming and ``init_model`` fail on
    them. What is downloaded (``https://``, ``torchvision://``, ``open-mmlab://``, ``mmcls://``) is still loaded by
    ``torch.hub`` with ``weights_only=False``, and runs whatever it holds.

    Needless once MMEngine loads everything with ``weights_only=True`` and an allow-list: 0.10.7 has no allow-list, and
    onedl-mmengine 0.10.12 runs whatever its allow-list has just refused.
    """
    mmengine.runner.checkpoint.load_url = load_downloaded_checkpoint
    CheckpointLoader.register_scheme(prefixes='', loader=load_local_checkpoint, force=True)
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        if prefix and not hasattr(loader, '__wrapped__'):
            CheckpointLoader.register_scheme(prefixes=prefix, loader=_with_own_torch_load(loader), force=True)


def load_local_checkpoint(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint file, building nothing but tensors, plain containers and what MMEngine's checkpoints hold.

    Args:
        filename: path of the file; ``~`` stands for the home folder.
        map_location: as in ``torch.load``.

    Returns:
        The object in the file, a dictionary as a rule; without ``meta['config']``, the text that MMCV 1 wrote there,
        because ``Runner.resume`` would run it.

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
    try:
        checkpoint = load_allowed(path, map_location)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f'checkpoint {path!r} was refused: {_refusal(error)}') from error
    except Exception as error:
        reason = str(error).partition(' In PyTorch 2.6')[0]  # where torch begins to advise to load it unsafely
        raise RuntimeError(f'checkpoint {path!r} could not be loaded: {type(error).__name__}: {reason}') from error
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def load_allowed(file: str | IO[bytes], map_location: Any = None) -> Any:
    """Load what ``torch.save`` wrote with the allow-list; its errors are torch's own.

    Args:
        file: path or open file.
        map_location: as in ``torch.load``.
    """
    allowed_before = torch.serialization.get_safe_globals()
    additions = [item for item in allowed_globals() if item not in allowed_before]
    with torch.serialization.safe_globals(additions):
        # Not torch.load, whose place the caller takes for some of MMEngine's loaders.
        return _with_arrays(torch.serialization.load(file, map_location=map_location, weights_only=True), seen=set())


def load_downloaded_checkpoint(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> Any:
    """Load a checkpoint from an address, as ``torch.hub`` does, but with :func:`load_local_checkpoint`.

    Args:
        url: where the file is; it is downloaded unless a file of its name has been before.
        model_dir: folder for downloads. None is the one of ``torch.hub``.
        map_location: as in ``torch.load``.
        progress: whether to show a progress bar.

    Returns:
        As :func:`load_local_checkpoint`, whose exceptions it raises, too.
    """
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, os.path.basename(urlparse(url).path))
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        torch.hub.download_url_to_file(url, path, progress=progress)
    return load_local_checkpoint(path, map_location)


def _with_own_torch_load(loader: Callable[..., Any]) -> Callable[..., Any]:
    """A loader of MMEngine for which ``torch.load`` is :func:`load_local_checkpoint`, on files and on buffers."""

    def load(file: Any, map_location: Any = None, **settings: Any) -> Any:
        if not hasattr(file, 'read'):
            return load_local_checkpoint(os.fspath(file), map_location)
        file.seek(0)  # onedl-mmengine comes twice, the second time with all of it read
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(file.read())
            copy.flush()
            return load_local_checkpoint(copy.name, map_location)

    @functools.wraps(loader)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(torch, 'load', load):
            return loader(*args, **kwargs)

    return wrapper


def allowed_globals() -> list[Any]:
    """List what a checkpoint may name beyond torch's own list: classes, and pairs of a function and its pickled name.

    These are what MMEngine's checkpoints hold. Nothing of NumPy itself is among them, as with its functions a file can
    make arrays of memory that is not theirs; what stands in for them is replaced by arrays after loading. They go by
    two names, as a file keeps the one of the NumPy (before 2, or since) that wrote it.
    """
    return [
        HistoryBuffer,
        ConfigDict,
        _PickledArray,
        _PickledDtype,
        (_PickledArray, 'numpy.ndarray'),
        (_PickledDtype, 'numpy.dtype'),
        (_pickled_array, 'numpy.core.multiarray._reconstruct'),
        (_pickled_array, 'numpy._core.multiarray._reconstruct'),
        (_pickled_number, 'numpy.core.multiarray.scalar'),
        (_pickled_number, 'numpy._core.multiarray.scalar'),
        (_empty_bytes, 'builtins.bytes'),
        (_history_statistic, 'builtins.getattr'),
    ]


class _PickledDtype:
    """Stand in for ``numpy.dtype`` in checkpoints: numbers and text of this machine's byte order, nothing else."""

    def __init__(self, code: str, *flags: bool) -> None:
        if code not in _PICKLED_NUMBER_CODES and not _PICKLED_TEXT.fullmatch(code):
            raise pickle.UnpicklingError(f'it asks for numpy.dtype({code!r}), and only numbers and text are allowed')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        size, alignment, flags = (self.dtype.itemsize, 4, 8) if self.dtype.kind == 'U' else (-1, -1, 0)
        if state != (3, self.dtype.str[0], None, None, None, size, alignment, flags):
            raise pickle.UnpicklingError(
                f'it asks for a {self.dtype} of the state {state!r}, and only plain ones are allowed'
            )


class _PickledArray:
    """Stand in for ``numpy.ndarray`` in checkpoints, until :func:`_with_arrays` puts the array into its place."""

    array: npt.NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.array = _numbers(kind, data, shape, 'F' if is_fortran else 'C')


def _pickled_array(*arguments: Any) -> _PickledArray:
    """Stand in for the function by which NumPy begins an array; its state follows."""
    return _PickledArray()


def _pickled_number(kind: Any, data: Any) -> Any:
    """Stand in for the function by which NumPy restores a number."""
    return _numbers(kind, data, (), 'C')[()]


def _empty_bytes() -> bytes:
    """Stand in for ``bytes``, by whose call without arguments an empty array keeps its contents."""
    return b''


def _numbers(kind: Any, data: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    """Numbers or text from the bytes of a pickle."""
    if not isinstance(kind, _PickledDtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError(f'it asks for an array of {type(data).__name__}, and only bytes are allowed')
    if kind.dtype.kind == 'U' and (np.frombuffer(data, np.uint32) > _LAST_CODE_POINT).any():
        raise pickle.UnpicklingError('it asks for text that is none')
    return np.array(np.frombuffer(data, kind.dtype).reshape(shape, order=order))


def _with_arrays(value: Any, seen: set[int]) -> Any:
    """Put arrays in the places of their stand-ins, in every container and object of a checkpoint.

    Args:
        value: the checkpoint, or a part of it; changed in place.
        seen: ``id`` of what has been gone through.

    Returns:
        ``value``, or what takes its place.
    """
    if isinstance(value, _PickledArray):
        return value.array
    if isinstance(value, _PickledDtype):
        return value.dtype
    if type(value) is tuple:
        return tuple(_with_arrays(item, seen) for item in value)
    if id(value) in seen:
        return value
    seen.add(id(value))
    if isinstance(value, dict):
        for key, item in dict.items(value):
            dict.__setitem__(value, key, _with_arrays(item, seen))
    elif isinstance(value, list):
        value[:] = [_with_arrays(item, seen) for item in value]
    if hasattr(value, '__dict__') and not isinstance(value, type):
        _with_arrays(vars(value), seen)
    return value


def _history_statistic(owner: Any, name: str) -> Callable[..., Any]:
    """Stand in for ``getattr`` in checkpoints: a HistoryBuffer names its own statistics, and nothing else is needed."""
    if owner is not HistoryBuffer or name not in _HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f'it asks for getattr({owner!r}, {name!r}), which is not allowed')
    statistic: Callable[..., Any] = getattr(HistoryBuffer, name)
    return statistic


def _is_checkpoint(path: str) -> bool:
    """Tell whether a file has either of the two formats of ``torch.save``, which compresses nothing."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            is_complete = any(member.filename.endswith('/data.pkl') for member in members)
            return is_complete and all(member.compress_type == zipfile.ZIP_STORED for member in members)
    except Exception:  # zip files raise errors of every kind on broken bytes
        return False
    return is_old_format(path)


def is_old_format(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file begins as those do that ``torch.save`` wrote before torch 1.6."""
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


# Configs of checkpoints ---------------------------------------------------------------------------------------------


def refuse_configs_of_checkpoints() -> None:
    """Have MMEngine's inferencers refuse to take their config from a checkpoint.

    A config is Python. ``MMSegInferencer(None, 'x.pth')`` runs the one that the file holds as text, which no allow-list
    can see. Needless once MMEngine does not: 0.10.7 and onedl-mmengine 0.10.12 do.
    """
    if not hasattr(BaseInferencer._init_model, '__wrapped__'):
        BaseInferencer._init_model = _without_config_of_checkpoint(BaseInferencer._init_model)


def _without_config_of_checkpoint(init_model: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(init_model)
    def wrapper(self: Any, cfg: Any, weights: Any, device: str = 'cpu') -> Any:
        if not cfg:
            raise ValueError(
                f'{type(self).__name__} was given the checkpoint {str(weights)!r} and no config: the config in a '
                'checkpoint is Python, and is not run. Give the config file as model'
            )
        return init_model(self, cfg, weights, device)

    return wrapper
