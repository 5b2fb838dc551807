"""What cannot be loaded from a checkpoint is named before the training begins; what can goes through."""

import datetime
import re
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import nn

from sipe_mmseg.engine import checkpoint_contents
from sipe_mmseg.engine.checkpoint_contents import UnreadableError, check_readable

READABLE = {
    'text': np.str_('Fläche'),
    'texts': np.array([['a', 'bcd'], ['Ü', '']]),
    'numbers': np.arange(3),
    'number': np.float32(1.5),
    'config': ConfigDict(a=[1, (2, None)]),
    'history': HistoryBuffer([1.0], [1]),
    'tensors': OrderedDict(a=torch.ones(2), b=nn.Parameter(torch.ones(2))),
    'names': {'a', 'b'},
}
UNREADABLE = {
    'path': (Path('a'), r'pathlib\.PosixPath'),
    'default': (defaultdict(list), r'collections\.defaultdict'),
    'frozen': (frozenset('a'), r'builtins\.frozenset'),
    'queue': (deque(), r'collections\.deque'),
    'day': (datetime.date(2024, 1, 1), r'datetime\.date'),
    'objects': (np.array([None]), r'numpy\.ndarray'),
    'bytes': (np.array([b'a']), r'numpy\.ndarray'),
    'function': (lambda: None, r'builtins\.function'),
}


@pytest.mark.parametrize('name', READABLE)
def test_what_passes_comes_back(name: str, tmp_path: Path) -> None:
    content = {'meta': {'dataset_meta': {name: READABLE[name]}}}
    check_readable(content)
    torch.save(content, tmp_path / 'a.pth')
    back = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['meta']['dataset_meta'][name]
    assert type(back) is type(READABLE[name])
    if isinstance(back, np.ndarray | np.generic | set | ConfigDict):
        assert np.all(back == READABLE[name])
        assert getattr(back, 'dtype', None) == getattr(READABLE[name], 'dtype', None)


@pytest.mark.parametrize('name', UNREADABLE)
def test_what_would_be_refused_is_named(name: str) -> None:
    value, kind = UNREADABLE[name]
    content = {**READABLE, 'meta': {'dataset_meta': {'files': [(1, {name: value})]}}}
    with pytest.raises(UnreadableError, match=rf'meta\.dataset_meta\.files\[0\]\[1\]\.{name}: {kind}\n') as error:
        check_readable(content)
    assert str(error.value).count('\n') == 2, 'it alone is named'


def test_keys_are_values_too_and_many_are_counted() -> None:
    with pytest.raises(UnreadableError, match=re.escape('meta.a, the key: pathlib.PosixPath\n')):
        check_readable({'meta': {Path('a'): 1}})
    with pytest.raises(UnreadableError, match=r'a\[4\]: .*\n  and 3 more'):
        check_readable({'a': [Path('a')] * 4 + [Path('b')] * 4})


def test_tensors_are_not_written_and_circles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_contents, '_is_readable', lambda value: pytest.fail('nothing needs a look'))
    content: dict[str, Any] = {'state_dict': {'a': torch.ones(2)}, 'epoch': 3, 'meta': {'name': 'a', 'none': None}}
    content['meta']['again'] = content
    check_readable(content)
