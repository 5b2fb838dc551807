"""Checkpoints that try to run something, at every place that loads one: none runs, and honest ones load.

A technique is a pickle that leaves a mark on disk when plain ``pickle`` loads it; a disguise is a file around a pickle.
All of it is done with ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1``, with which torch and MMEngine run what they are given.
"""

import ast
import contextlib
import copyreg
import gzip
import io
import itertools
import marshal
import operator
import os
import pickle
import re
import runpy
import shutil
import struct
import subprocess
import sys
import tarfile
import timeit
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
import torch.utils.collect_env
from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyObject
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner
from mmseg.apis import MMSegInferencer, init_model
from mmseg.registry import MODELS
from torch import nn

from sipe_mmseg.apis import SIPEInferencer
from sipe_mmseg.apis.cam_comparison import compare_cams
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.label_generation import generate_labels
from sipe_mmseg.visualization.gallery import draw_gallery
from sipe_mmseg_cli.main import main

REPOSITORY = Path(__file__).parents[2]
REFUSALS = (pickle.UnpicklingError, ValueError, RuntimeError)

# Modules that only exist for these tests: what they do, they do with the path of the mark.
GUEST = """
import os
class New:
    def __new__(cls, mark=MARK): os.mkdir(mark)
class State:
    def __setstate__(self, mark): os.mkdir(mark)
class Setter:
    mark = property(None, lambda self, mark: os.mkdir(mark))
class Items:
    def append(self, mark): os.mkdir(mark)
    def extend(self, marks): os.mkdir(marks[0])
    def __setitem__(self, key, mark): os.mkdir(mark)
class MarkStorage:
    def __init__(self, mark): os.mkdir(mark)
"""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch loads everything, and an extension of pickle has a number."""
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    copyreg.add_extension('os', 'mkdir', 0xF0)
    yield
    copyreg.remove_extension('os', 'mkdir', 0xF0)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What a technique that succeeds leaves behind; the modules that it needs can be imported."""
    with guests(tmp_path) as path:
        yield path


@contextlib.contextmanager
def guests(folder: Path) -> Iterator[Path]:
    path = folder / 'mark'
    (folder / 'guest.py').write_text(GUEST.replace('MARK', repr(str(path))))
    (folder / 'guest_on_import.py').write_text(f'import os; os.mkdir({str(path)!r})')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield path
    for name in ('guest', 'guest_on_import'):
        sys.modules.pop(name, None)


# Techniques -----------------------------------------------------------------------------------------------------------


class Calls:
    """An object that is restored by calling a function, and then perhaps gets a state."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


Technique = Callable[[Path], bytes]


def calls(function: Any, *arguments: Callable[[Path], Any], protocol: int = 2) -> Technique:
    """A pickle that calls a function with arguments made of the mark."""
    return lambda mark: pickle.dumps(Calls(function, *[make(mark) for make in arguments]), protocol)


def opcodes(make: Callable[[bytes], bytes], protocol: int = 2) -> Technique:
    """A pickle written by hand; it is given the opcodes of the mark's path."""
    return lambda mark: bytes([0x80, protocol]) + make(text(str(mark))) + b'.'


def text(value: str) -> bytes:
    return b'X' + struct.pack('<I', len(value.encode())) + value.encode()


def code(mark: Path) -> str:
    return f'__import__("os").mkdir({str(mark)!r})'


def command(mark: Path) -> str:
    return f'mkdir {mark}'


def beside(name: str, content: Callable[[Path], bytes]) -> Callable[[Path], str]:
    """Path of a file beside the mark."""

    def write(mark: Path) -> str:
        mark.with_name(name).write_bytes(content(mark))
        return str(mark.with_name(name))

    return write


def objects(mark: Path) -> bytes:
    """An .npy file of one object."""
    file = io.BytesIO()
    np.save(file, np.array([Calls(os.mkdir, str(mark))], dtype=object), allow_pickle=True)
    return file.getvalue()


def saved(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save(Calls(os.mkdir, str(mark)), file)
    return file.getvalue()


def compiled(mark: Path) -> bytes:
    """A function built of its byte code."""
    content = marshal.dumps(compile(code(mark), 'x', 'exec'))
    loaded = b'cmarshal\nloads\nB' + struct.pack('<I', len(content)) + content + b'\x85R'
    return b'\x80\x03ctypes\nFunctionType\n' + loaded + b'}\x86\x81)R.'


MKDIR = b'cos\nmkdir\n'
GETATTR = b'cbuiltins\ngetattr\n'
TECHNIQUES: dict[str, Technique] = {
    # calls of what runs commands or code
    'os.system': calls(os.system, command),
    'posix.system': opcodes(lambda mark: b'cposix\nmkdir\n' + mark + b'\x85R'),
    'nt.system': opcodes(lambda mark: b'cguest\nos.mkdir\n' + mark + b'\x85R', 4),
    'subprocess': calls(subprocess.check_call, lambda mark: ['mkdir', str(mark)]),
    'eval': calls(eval, code),
    'exec': calls(exec, code),
    'open': calls(open, str, lambda mark: 'w'),
    'path': calls(Path.mkdir, lambda mark: mark),
    'runpy': calls(runpy.run_path, beside('script.py', lambda mark: code(mark).encode())),
    'timeit': calls(timeit.timeit, code, lambda mark: 'pass', lambda mark: timeit.default_timer, lambda mark: 1),
    'byte code': compiled,
    # reached on a detour
    'getattr': opcodes(
        lambda mark: GETATTR + b'cimportlib\nimport_module\n' + text('os') + b'\x85R' + text('mkdir') + b'\x86R'
        + mark + b'\x85R'
    ),
    'getattr of a statistic': opcodes(
        lambda mark: GETATTR + GETATTR + GETATTR + b'cmmengine.logging.history_buffer\nHistoryBuffer\n' + text('mean')
        + b'\x86R' + text('__globals__') + b'\x86R' + text('pop') + b'\x86R' + text('__builtins__') + b'\x85R0'
        + MKDIR + mark + b'\x85R'
    ),
    'methodcaller': calls(operator.methodcaller('mkdir'), lambda mark: mark),
    'attrgetter': opcodes(
        lambda mark: b'coperator\nattrgetter\n' + text('mkdir') + b'\x85Rcguest\nos\n\x85R' + mark + b'\x85R'
    ),
    'partial': lambda mark: pickle.dumps(Calls(partial(os.mkdir, str(mark))), 2),
    'partial by its state': opcodes(
        lambda mark: b'cfunctools\npartial\ncbuiltins\nint\n\x85R(' + MKDIR + mark + b'\x85}NtbR'.replace(b'R', b')R')
    ),
    'dotted name': opcodes(lambda mark: text('pathlib') + text('os.mkdir') + b'\x93' + mark + b'\x85R', 4),
    'dotted name in torch': opcodes(
        lambda mark: text('torch') + text('serialization.os.mkdir') + b'\x93' + mark + b'\x85R', 4
    ),
    'names of Python 2': opcodes(lambda mark: b'c__builtin__\nopen\n' + mark + text('w') + b'\x86R'),
    'modules of Python 2': calls(subprocess.getoutput, command),
    # opcodes other than those of a function call
    'INST': lambda mark: f"(S'{mark}'\nios\nmkdir\n.".encode(),
    'OBJ': opcodes(lambda mark: b'(' + MKDIR + mark + b'o'),
    'NEWOBJ': opcodes(lambda mark: b'cguest\nNew\n' + mark + b'\x85\x81'),
    'NEWOBJ_EX': opcodes(lambda mark: b'cguest\nNew\n)}' + text('mark') + mark + b's\x92', 4),
    'EXT1': opcodes(lambda mark: b'\x82\xf0' + mark + b'\x85R'),
    'BUILD': opcodes(lambda mark: b'cguest\nState\n)\x81' + mark + b'b'),
    'BUILD of attributes': opcodes(lambda mark: b'cguest\nSetter\n)\x81N}' + text('mark') + mark + b's\x86b'),
    'APPEND': opcodes(lambda mark: b'cguest\nItems\n)\x81' + mark + b'a'),
    'APPENDS': opcodes(lambda mark: b'cguest\nItems\n)\x81(' + mark + mark + b'e'),
    'SETITEM': opcodes(lambda mark: b'cguest\nItems\n)\x81' + text('key') + mark + b's'),
    'SETITEMS': opcodes(lambda mark: b'cguest\nItems\n)\x81(' + text('key') + mark + b'u'),
    'import': opcodes(lambda mark: b'cguest_on_import\nos\n'),
    # in places of a checkpoint
    'key': lambda mark: pickle.dumps({'state_dict': {Calls(os.mkdir, str(mark)): 1}}, 2),
    'metadata of weights': lambda mark: pickle.dumps(
        Calls(OrderedDict, state={'_metadata': Calls(os.mkdir, str(mark))}), 2
    ),
    'deep inside': lambda mark: pickle.dumps({'meta': [({'a': [Calls(os.mkdir, str(mark))]},)]}, 2),
    'thrown away': opcodes(lambda mark: MKDIR + mark + b'\x85R0}' + text('state_dict') + b'}s'),
    'type of a storage': opcodes(lambda mark: b'(' + text('storage') + MKDIR + mark + b'\x85R' + text('0') + b'tQ'),
    'kind of a storage': opcodes(lambda mark: b'(' + MKDIR + mark + b'\x85R' + text('0') + b'tQ'),
    'name of a storage': opcodes(lambda mark: b'cguest\nMarkStorage\n' + mark + b'\x85R'),
    # through torch, NumPy and MMEngine
    'tensor of a type': calls(
        torch._tensor._rebuild_from_type_v2,
        lambda mark: os.mkdir,
        lambda mark: type(None),
        lambda mark: (str(mark),),
        lambda mark: {},
    ),
    'torch.load': calls(torch.load, beside('inner.pth', saved)),
    'command of torch': calls(torch.utils.collect_env.run, command),
    'numpy.load': calls(np.load, beside('objects.npy', objects), lambda mark: None, lambda mark: True),
    'mmengine.load': calls(mmengine.load, beside('x.pkl', lambda mark: pickle.dumps(Calls(os.mkdir, str(mark))))),
    'config file': calls(Config.fromfile, beside('x.py', lambda mark: code(mark).encode()), protocol=4),
    'config text': calls(Config.fromstring, code, lambda mark: '.py', protocol=4),
    'lazy import': calls(LazyObject.build, lambda mark: LazyObject('guest_on_import'), protocol=4),
}  # fmt: skip


class Permissive(pickle.Unpickler):
    """Plain pickle, which takes any persistent id as it is."""

    def persistent_load(self, pid: Any) -> Any:
        return pid


@pytest.mark.filterwarnings('ignore:Environment variable TORCH_FORCE')
@pytest.mark.parametrize('technique', TECHNIQUES)
def test_techniques_work_where_nothing_is_refused(mark: Path, technique: str) -> None:
    content = TECHNIQUES[technique](mark)
    with contextlib.suppress(Exception):
        Permissive(io.BytesIO(content)).load()
    assert mark.exists()


# Files ----------------------------------------------------------------------------------------------------------------


def members(content: bytes | None = None) -> dict[str, bytes]:
    """An honest checkpoint as a dictionary of its archive's parts, or one with a pickle of another content."""
    file = io.BytesIO()
    torch.save({'state_dict': {'weight': torch.zeros(2)}}, file)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return parts if content is None else parts | {'archive/data.pkl': content}


def zipped(parts: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of names and contents; a name may come twice."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, 'w', compression) as archive:
        warnings.simplefilter('ignore')
        for name, content in parts:
            archive.writestr(name, content)
    return file.getvalue()


def as_zip(content: bytes) -> bytes:
    return zipped(members(content).items())


def as_old(content: bytes, place: int = 3) -> bytes:
    """The format before torch 1.6: a magic number, a version, a system, the checkpoint and the keys of storages."""
    file = io.BytesIO()
    torch.save({'state_dict': {}}, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    parts = []
    for _ in range(5):
        start = file.tell()
        Permissive(file).load()
        parts.append(file.getvalue()[start : file.tell()])
    parts[place] = content
    return b''.join(parts)


def as_tar(content: bytes) -> bytes:
    """The format of 2016: a tar file of three members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for name, part in {
            'storages': pickle.dumps(0) + pickle.dumps([]),
            'tensors': pickle.dumps(0),
            'pickle': content,
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(part)
            archive.addfile(info, io.BytesIO(part))
    return file.getvalue()


def with_two_names(content: bytes, local: bytes, central: bytes) -> bytes:
    """An archive whose pickle goes by one name in its own header and by another in the directory at the end."""
    whole = zipped((members() | {'archive/xxxx.pkl': content}).items())
    start, end = whole.index(b'archive/xxxx.pkl'), whole.rindex(b'archive/xxxx.pkl')
    honest = whole.rindex(b'archive/data.pkl')
    whole = bytearray(whole)
    whole[start + 8 : start + 16], whole[end + 8 : end + 16] = local, central
    if central == b'data.pkl':
        whole[honest + 8 : honest + 16] = b'xxxx.pkl'
    return bytes(whole)


# Disguise, and whether torch.load(weights_only=False) gets to the pickle.
DISGUISES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    'zip': (as_zip, True),
    'compressed': (lambda content: zipped(members(content).items(), zipfile.ZIP_DEFLATED), True),
    'second pickle of its name': (lambda content: zipped([*members().items(), ('archive/data.pkl', content)]), True),
    'first pickle of its name': (
        lambda content: zipped([('archive/data.pkl', content), *members().items()]),
        False,
    ),
    'name in capitals': (lambda content: zipped([('archive/DATA.PKL', content), *members().items()]), False),
    'name of a later folder': (lambda content: zipped([*members().items(), ('other/data.pkl', content)]), False),
    'name in the directory only': (lambda content: with_two_names(content, b'xxxx.pkl', b'data.pkl'), True),
    'name in the header only': (lambda content: with_two_names(content, b'data.pkl', b'xxxx.pkl'), False),
    'archive in an archive': (lambda content: as_zip(as_zip(content)), False),
    'one file, as torch.hub unpacks': (lambda content: zipped([('inner.pth', as_old(content))]), False),
    'TorchScript': (lambda content: zipped((members(content) | {'archive/constants.pkl': content}).items()), False),
    'junk before a zip': (lambda content: b'junk' + as_zip(content), False),
    'old': (as_old, True),
    'old, magic number': (lambda content: as_old(content, 0), True),
    'old, version': (lambda content: as_old(content, 1), True),
    'old, system': (lambda content: as_old(content, 2), True),
    'old, keys': (lambda content: as_old(content, 4), True),
    'old before a zip': (lambda content: as_old(content) + zipped(members().items()), True),
    'bare': (lambda content: content, True),
    'bare before a zip': (lambda content: content + zipped(members().items()), True),
    'tar': (as_tar, True),
    'tar before a zip': (lambda content: as_tar(content) + zipped(members().items()), True),
    'gzip': (gzip.compress, False),
}


def load_freely(path: Path) -> None:
    with contextlib.suppress(Exception):
        torch.load(path, map_location='cpu', weights_only=False)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('disguise', DISGUISES)
def test_disguises(mark: Path, tmp_path: Path, disguise: str) -> None:
    disguised, is_read = DISGUISES[disguise]
    path = tmp_path / 'model.pth'
    path.write_bytes(disguised(TECHNIQUES['path'](mark)))
    try:
        loaded = CheckpointLoader.load_checkpoint(str(path), 'cpu')
    except REFUSALS as refusal:
        assert 'Re-running' not in str(refusal), 'the advice to load it unsafely must not be passed on'
    else:  # the pickle is where nobody looks, in an honest checkpoint
        assert torch.equal(loaded['state_dict']['weight'], torch.zeros(2)) and not is_read
    assert not mark.exists()
    load_freely(path)
    assert mark.exists() == is_read


# Addresses ------------------------------------------------------------------------------------------------------------

ADDRESSES = {
    'file': '{folder}/model.pth',
    'home': '~/model.pth',
    'link': '{folder}/link.pth',
    'http': 'http://host/path/model.pth?x=1',
    'https': 'https://host/model.pth',
    'torchvision': 'torchvision://x',
    'modelzoo': 'modelzoo://x',
    'open-mmlab': 'open-mmlab://x',
    'openmmlab file': 'openmmlab://local',
    'mmcls': 'mmcls://x',
    's3': 's3://bucket/model.pth',
    's3 of a cluster': 'cluster:s3://bucket/model.pth',
    'petrel': 'petrel://bucket/model.pth',
    'pavi': 'pavi://model.pth',
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that every address leads to, without a network and without the packages of the clouds."""
    path = tmp_path / 'model.pth'
    (tmp_path / 'link.pth').symlink_to(path)
    module = 'mmengine.runner.checkpoint'
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, file, *args, **settings: os.link(path, file))
    table = {'x': 'https://host/model.pth', 'local': 'model.pth'}
    for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(f'{module}.{name}', lambda: table)
    backend = types.SimpleNamespace(get=lambda address: path.read_bytes())
    monkeypatch.setattr(f'{module}.get_file_backend', lambda *args, **settings: backend)
    pavi = types.ModuleType('pavi')
    pavi.modelcloud = types.SimpleNamespace(
        get=lambda name: types.SimpleNamespace(name=name, download=lambda file: os.link(path, file))
    )
    monkeypatch.setitem(sys.modules, 'pavi', pavi)
    return path


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of every technique in both formats."""
    folder = tmp_path_factory.mktemp('corpus')
    for technique, make in TECHNIQUES.items():
        content = make(folder / 'mark')
        (folder / f'{technique}.zip').write_bytes(as_zip(content))
        (folder / f'{technique}.old').write_bytes(as_old(content))
    return folder


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('address', ADDRESSES)
def test_no_technique_works_at_any_address(corpus: Path, store: Path, address: str) -> None:
    with guests(corpus) as mark:
        for technique, suffix in itertools.product(TECHNIQUES, ['zip', 'old'] if address == 'file' else ['zip']):
            store.unlink(missing_ok=True)
            shutil.rmtree(store.parent / 'torch', ignore_errors=True)
            os.link(corpus / f'{technique}.{suffix}', store)
            with pytest.raises(REFUSALS, match=r'could not be loaded|refused') as refusal:
                CheckpointLoader.load_checkpoint(ADDRESSES[address].format(folder=store.parent), 'cpu')
            assert not mark.exists(), technique
            assert 'Recursion' not in str(refusal.value)
            assert 'weights_only' not in str(refusal.value), 'the advice to load it unsafely must not be passed on'


@pytest.mark.parametrize('address', ADDRESSES)
@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])
def test_honest_checkpoints_load_from_any_address(store: Path, address: str, is_zip: bool) -> None:
    torch.save({'state_dict': {'backbone.w': torch.arange(3.0)}}, store, _use_new_zipfile_serialization=is_zip)
    loaded = CheckpointLoader.load_checkpoint(ADDRESSES[address].format(folder=store.parent), 'cpu')
    (weight,) = loaded['state_dict'].values()  # MMEngine shortens the names of mmcls://
    assert torch.equal(weight, torch.arange(3.0))


def test_every_scheme_of_mmengine_has_an_address_here() -> None:
    used = {CheckpointLoader._get_checkpoint_loader(address) for address in ADDRESSES.values()}
    assert used == set(CheckpointLoader._schemes.values())


def test_a_download_is_kept(store: Path, tmp_path: Path) -> None:
    torch.save({'a': 1}, store)
    assert CheckpointLoader.load_checkpoint('https://host/model.pth') == {'a': 1}
    store.unlink()
    assert CheckpointLoader.load_checkpoint('https://host/model.pth') == {'a': 1}
    assert [path.name for path in (tmp_path / 'torch' / 'hub' / 'checkpoints').iterdir()] == ['model.pth']


# Memory ---------------------------------------------------------------------------------------------------------------

DTYPE = b'cnumpy\ndtype\n' + text('f8') + b'\x89\x88\x87R(K\x03' + text('<')
ARRAY = (
    b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85c_codecs\nencode\n' + text('b') + b'\x85R\x87R'
)
BYTES = b'c_codecs\nencode\n' + text('A' * 8) + text('latin1') + b'\x86R'
STORAGE = b'(' + text('storage') + b'ctorch\nFloatStorage\n' + text('0') + text('cpu') + b'%stQ'
TENSOR = b'ctorch._utils\n_rebuild_tensor_v2\n(' + STORAGE + b'K\x00(K\x02t(K\x01t\x89ccollections\nOrderedDict\n)RtR'
HUGE = b'\x8a\x06' + (1 << 44).to_bytes(6, 'little')
MEMORY = {
    'objects at addresses of the file': b'cnumpy\nndarray\n(K\x01\x85' + text('O') + BYTES + b'tR',
    'field outside of its number': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE + b'N(' + text('a') + b't}' + text('a') + b'cnumpy\ndtype\n' + text('f8')
        + b'\x85RM\x00\x10\x86sJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89' + BYTES + b'tb'
    ),
    'numbers with the flags of objects': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89' + BYTES + b'tb'
    ),
    'numbers of the other byte order': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE.replace(text('<'), text('>'))
        + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89' + BYTES + b'tb'
    ),
    'array larger than its bytes': (
        ARRAY + b'(K\x01K\x09\x85' + DTYPE + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89' + BYTES + b'tb'
    ),
    'number shorter than its type': (
        b'cnumpy.core.multiarray\nscalar\n' + DTYPE + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb' + text('A')
        + b'\x86R'
    ),
    'text of bytes that are none': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE.replace(text('f8'), text('U2'))
        + b'NNNK\x08K\x04K\x08tb\x89c_codecs\nencode\n' + text('AAAAAAAA') + text('latin1') + b'\x86Rtb'
    ),
    'text with the size of another': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE.replace(text('f8'), text('U2')) + b'NNNM\x00\x10K\x04K\x08tb\x89' + BYTES
        + b'tb'
    ),
    'text with the flags of objects': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE.replace(text('f8'), text('U2')) + b'NNNK\x08K\x04K?tb\x89' + BYTES + b'tb'
    ),
    'text larger than its bytes': (
        ARRAY + b'(K\x01K\x01\x85' + DTYPE.replace(text('f8'), text('U3')) + b'NNNK\x0cK\x04K\x08tb\x89' + BYTES + b'tb'
    ),
    'text of no size': b'cnumpy\ndtype\n' + text('U0') + b'\x89\x88\x87R',
    'objects': b'cnumpy\ndtype\n' + text('O8') + b'\x89\x88\x87R',
    'item of a tensor': TENSOR % b'K\x02' + b'K\x00K\x01s',
    'storage larger than its bytes': TENSOR % b'M\x00\x40',
    'storage larger than the memory': TENSOR % HUGE,
    'bytes larger than the memory': b'cbuiltins\nbytearray\n' + HUGE + b'\x85R',
}  # fmt: skip


@pytest.mark.parametrize('attempt', MEMORY)
@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])
def test_memory_is_not_touched(tmp_path: Path, attempt: str, is_zip: bool) -> None:
    path = tmp_path / 'model.pth'
    content = b'\x80\x02' + MEMORY[attempt] + b'.'
    path.write_bytes(as_zip(content) if is_zip else as_old(content.replace(b'tQ', b'NtQ')))
    if (attempt, is_zip) == ('storage larger than its bytes', False):
        # Nothing is read past the end in the old format: the storage just has its size.
        assert CheckpointLoader.load_checkpoint(str(path), 'cpu').shape == (2,)
        return
    with pytest.raises(REFUSALS, match=r'could not be loaded|refused'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu')


# Configs inside -------------------------------------------------------------------------------------------------------


class TinyModel(BaseModel):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, rows: torch.Tensor, mode: str = 'tensor') -> Any:
        return {'loss': (self.weight * rows).sum()}


def make_runner(folder: Path, **settings: Any) -> Runner:
    runner = Runner(
        model=TinyModel(),
        work_dir=str(folder),
        train_dataloader={'dataset': [torch.ones(1)], 'sampler': {'type': 'DefaultSampler'}},
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        param_scheduler={'type': 'PolyLR', 'end': 10},
        experiment_name=folder.name,
        log_level='ERROR',
        default_scope='mmseg',
        **settings,
    )
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    return runner


def test_resuming_does_not_run_a_config_in_the_checkpoint(mark: Path, tmp_path: Path) -> None:
    runner = make_runner(tmp_path / 'first')
    runner.save_checkpoint(
        str(tmp_path), 'model.pth', by_epoch=True, meta={'config': code(mark), 'epoch': 0, 'iter': 0}
    )
    assert torch.load(tmp_path / 'model.pth', weights_only=False)['meta']['config'] == code(mark)
    make_runner(tmp_path / 'second').resume(str(tmp_path / 'model.pth'))
    assert not mark.exists()


def test_inferencers_do_not_run_a_config_in_the_checkpoint(mark: Path, tmp_path: Path) -> None:
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': {}, 'meta': {'cfg': code(mark)}}, path)
    with pytest.raises(ValueError, match=r'model\.pth.*Python, and is not run. Give the config file'):
        MMSegInferencer(None, str(path), device='cpu')
    assert not mark.exists()


# Places in the package ------------------------------------------------------------------------------------------------

CONFIG = f"""
_base_ = '{REPOSITORY}/configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'
model = dict(backbone=dict(base_channels=8, stem_channels=8), decode_head=dict(in_channels=[8, 16, 32, 64],
             side_channels=[8, 8, 16, 16]))
default_hooks = dict(fold_batch_norm=None)
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a config."""
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=1, num_val=1, size=64))
    (home / 'config.py').write_text(CONFIG)
    return home


def command_line(*words: object) -> Callable[[Config, Path], None]:
    """Run a command; what it prints as its error is raised."""

    def run(config: Config, path: Path) -> None:
        error = io.StringIO()
        with contextlib.redirect_stderr(error):
            places = dict(config=config.filename, pictures=Path(config.filename).parent / 'shapes' / 'JPEGImages')
            result = main([str(word).format(path=path, folder=path.parent, **places) for word in words])
        assert result == 1
        raise ValueError(error.getvalue())

    return run


def pretrained(config: Config, path: Path) -> None:
    MODELS.build(dict(type='MobileNetV2', init_cfg=dict(type='Pretrained', checkpoint=str(path)))).init_weights()


def part_of_pretrained(config: Config, path: Path) -> None:
    settings = dict(type='Pretrained', checkpoint=str(path), prefix='backbone')
    MODELS.build(dict(type='MobileNetV2', init_cfg=settings)).init_weights()


def by_its_own_loader(config: Config, path: Path) -> None:
    """The backbones of MMSegmentation that load weights themselves."""
    MODELS.build(dict(type='SwinTransformer', init_cfg=dict(type='Pretrained', checkpoint=str(path)))).init_weights()


def last_checkpoint(config: Config, path: Path) -> None:
    folder = path.parent / 'run'
    folder.mkdir(exist_ok=True)
    (folder / 'last_checkpoint').write_text(str(path))
    make_runner(folder, resume=True).load_or_resume()


PLACES: dict[str, Callable[[Config, Path], Any]] = {
    'init_model': lambda config, path: init_model(config, str(path), device='cpu'),
    'Pretrained': pretrained,
    'Pretrained with a prefix': part_of_pretrained,
    'Swin Transformer': by_its_own_loader,
    'load_from': lambda config, path: make_runner(path.parent / 'run', load_from=str(path)).load_or_resume(),
    'resume': lambda config, path: make_runner(path.parent / 'run', load_from=str(path), resume=True).load_or_resume(),
    'last_checkpoint': last_checkpoint,
    'MMSegInferencer': lambda config, path: MMSegInferencer(config.filename, str(path), device='cpu'),
    'SIPEInferencer': lambda config, path: SIPEInferencer(config.filename, path, device='cpu'),
    'labels': lambda config, path: generate_labels(config, path, path.parent / 'labels', device='cpu'),
    'comparison': lambda config, path: compare_cams(config, path, path.parent / 'out', [], device='cpu'),
    'gallery': lambda config, path: list(draw_gallery(config, path, path.parent / 'out', device='cpu')),
    'test': command_line('test', '{config}', '{path}'),
    'predict': command_line('predict', '{config}', '{pictures}', '--weights', '{path}', '--out-dir', '{folder}/x'),
    'convert checkpoint': command_line('convert checkpoint', '{path}', '{folder}/x.pth'),
    'convert checkpoint back': command_line('convert checkpoint', '--to-published', '{path}', '{folder}/x.pth'),
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('place', PLACES)
def test_every_place_refuses(
    mark: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv('SHAPES_ROOT', str(home / 'shapes'))
    path = tmp_path / 'hostile.pth'
    path.write_bytes(as_zip(TECHNIQUES['os.system'](mark)))
    with pytest.raises(REFUSALS, match=r'hostile\.pth.* was refused: .*system'):
        PLACES[place](Config.fromfile(home / 'config.py'), path)
    assert not mark.exists()


# The functions by which our own code reads files of a format that can hold code. MMEngine's load_checkpoint goes
# through its CheckpointLoader, and is safe wherever it is called; the methods of Pillow's images are safe as well.
READERS = {
    'sipe_mmseg/compat.py': {'torch.serialization.load'},
    'sipe_mmseg/engine/mmseg_tools.py': {'runpy.run_path'},  # of MMSegmentation's own scripts
}
SAFELY = {'np.load': 'allow_pickle=False', 'torch.serialization.load': 'weights_only=True'}
_READING = re.compile(
    r'(?!json\.|tomllib\.|image\.)((.*\.)?(load|loads|load_url|load_state_dict_from_url|unsafe_load|read_pickle|run_path'
    r'|read_array|fromstring)|eval|exec|__import__)'
)


def test_nothing_else_in_the_package_reads_what_can_hold_code() -> None:
    found: dict[str, set[str]] = {}
    for folder in ('sipe_mmseg', 'sipe_mmseg_cli', 'tools', 'configs', 'docs'):
        for path in sorted((REPOSITORY / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _READING.fullmatch(function := ast.unparse(node.func)):
                    found.setdefault(path.relative_to(REPOSITORY).as_posix(), set()).add(function)
                    assert SAFELY.get(function, '') in ast.unparse(node), f'{path}:{node.lineno}'
    assert found == READERS


# Honest checkpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])
def test_ours_come_back_whole_and_can_be_saved_again(tmp_path: Path, is_zip: bool) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    hub = MessageHub('whole')
    for step in range(3):
        hub.update_scalar('train/loss', 1.5 * step)
    numbers = [np.dtype(code).type(1) for code in '?bhilqBHILQefd']
    hub.update_info('numbers', numbers)
    hub.update_info('arrays', [np.array([[1, 2, 3], [4, 5, 6]], order=order, dtype='f4') for order in ('C', 'F')])
    hub.update_info('empty', np.empty((0, 2)))
    hub.update_info('text', [np.str_('Ü'), np.array([['a', 'bc'], ['', 'd']], order='F'), np.empty((0, 2), 'U3')])
    content = {
        'state_dict': model.state_dict(),
        'optimizer': optimizer.state_dict(),
        'message_hub': hub.state_dict(),
        'meta': {'dataset_meta': {'classes': ('a', 'b')}, 'seed': 0, 'data': ConfigDict(year=2012)},
    }
    path = tmp_path / 'ours.pth'
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(str(path), 'cpu')
        assert loaded['meta'] == content['meta'] and type(loaded['meta']['data']) is ConfigDict
        assert loaded['state_dict']._metadata == content['state_dict']._metadata
        torch.testing.assert_close(loaded['state_dict'], content['state_dict'])
        torch.testing.assert_close(loaded['optimizer']['state'], content['optimizer']['state'])
        history = loaded['message_hub']['log_scalars']['train/loss']
        assert type(history) is HistoryBuffer and type(history.data[0]) is np.ndarray
        history.update(9.0)
        assert history.mean() == np.mean([0.0, 1.5, 3.0, 9.0])
        info = loaded['message_hub']['runtime_info']
        assert [number.dtype for number in info['numbers']] == [number.dtype for number in numbers]
        assert info['numbers'] == numbers
        for array, expected in zip(info['arrays'], hub.get_info('arrays'), strict=True):
            np.testing.assert_array_equal(array, expected, strict=True)
            array += 1  # it is a copy that can be written to
        assert info['empty'].shape == (0, 2)
        for found, expected in zip(info['text'], hub.get_info('text'), strict=True):
            assert type(found) is type(expected)
            np.testing.assert_array_equal(found, expected, strict=True)
        torch.save(CheckpointLoader.load_checkpoint(str(path), 'cpu'), path)


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])
def test_the_published_ones_load(tmp_path: Path, is_zip: bool) -> None:
    """A state dict, plain, within a dictionary or of DataParallel, as the published implementations save them."""
    weights = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict()
    path = tmp_path / 'published.pth'
    for content in (weights, {'net': weights}, {f'module.{name}': tensor for name, tensor in weights.items()}):
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        torch.testing.assert_close(CheckpointLoader.load_checkpoint(str(path), 'cpu'), content)
