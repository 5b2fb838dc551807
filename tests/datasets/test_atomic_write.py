"""Files that are whole or not there, whatever happens to the process or the disk."""

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sipe_mmseg.datasets import atomic_write as atomic_write_module
from sipe_mmseg.datasets.atomic_write import atomic_write, remove_leftovers, remove_leftovers_of, temporary_name


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


NOBODY = 2**30
"""More than any system numbers its processes."""


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / 'some' / 'folder' / 'a.txt'
    with atomic_write(path) as temporary:
        temporary.write_text('new')
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == 'new'
    assert names(tmp_path) == ['some', 'some/folder', 'some/folder/a.txt']


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    (tmp_path / 'set').mkdir()  # an empty one may be there
    with atomic_write(tmp_path / 'set') as temporary:
        (temporary / 'images').mkdir(parents=True)
        (temporary / 'images' / 'a').touch()
        assert names(tmp_path / 'set') == []
    assert names(tmp_path) == ['set', 'set/images', 'set/images/a']


@pytest.mark.parametrize('error', [RuntimeError('stop'), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text('ne')
        raise error
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a.txt']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_the_folder_and_what_to_do(tmp_path: Path, number: int) -> None:
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / 'a.txt') as temporary:
        temporary.write_text('ne')
        raise OSError(number, 'full')
    assert caught.value.errno == number
    assert f'no space left in {tmp_path} for a.txt: free some, or name a folder' in str(caught.value)
    assert names(tmp_path) == []


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match='not yours'), atomic_write(tmp_path / 'a.txt'):
        raise PermissionError(errno.EACCES, 'not yours')


def test_what_a_killed_process_leaves_is_no_result_and_is_removed(tmp_path: Path) -> None:
    (tmp_path / 'b.txt').write_text('whole')
    (tmp_path / '.hidden').write_text("the user's own")
    script = (
        'import os, signal\n'
        'from sipe_mmseg.datasets.atomic_write import atomic_write\n'
        f'with atomic_write({str(tmp_path / "more" / "a.txt")!r}) as temporary:\n'
        '    temporary.write_text("ha")\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    assert subprocess.run([sys.executable, '-c', script], check=False).returncode == -9
    assert not (tmp_path / 'more' / 'a.txt').exists()
    (leftover,) = (tmp_path / 'more').iterdir()
    assert leftover.name.startswith('.a.txt.')
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ['.hidden', 'b.txt', 'more']


def test_leftover_folders_are_removed_too(tmp_path: Path) -> None:
    (tmp_path / temporary_name('set', NOBODY) / 'images').mkdir(parents=True)
    (tmp_path / temporary_name('a.png', 10**30)).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE) as writer:
        (tmp_path / temporary_name('a.png', writer.pid)).write_text('half')
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [temporary_name('a.png', writer.pid)]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_left_by_a_process_of_the_same_number_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / temporary_name('out', os.getpid()) / 'old').mkdir(parents=True)
    with atomic_write(tmp_path / 'out') as temporary:
        temporary.mkdir()
    assert not list((tmp_path / 'out').iterdir())


def test_leftovers_of_one_folder_alone(tmp_path: Path) -> None:
    left = [temporary_name(name, 999999999) for name in ('out', 'out.png', 'other')]
    left.append(temporary_name('out', 1))  # of a process that lives
    for name in left:
        (tmp_path / name).mkdir()
    remove_leftovers_of(tmp_path / 'out')
    remove_leftovers_of(tmp_path / 'nowhere' / 'out')
    assert {path.name for path in tmp_path.iterdir()} == set(left[1:])


@pytest.mark.parametrize('one_of_many', [False, True])
def test_a_single_file_takes_away_what_was_left_of_it_and_is_on_the_disk_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_of_many: bool
) -> None:
    left = tmp_path / temporary_name('a.txt', NOBODY)
    left.write_text('half')
    steps: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda number: steps.append('on the disk') or sync(number))
    monkeypatch.setattr(os, 'replace', lambda *paths: steps.append('renamed') or replace(*paths))
    with atomic_write(tmp_path / 'a.txt', one_of_many=one_of_many) as temporary:
        temporary.write_text('whole')
    assert steps == (['renamed'] if one_of_many else ['on the disk', 'renamed'])
    assert left.exists() == one_of_many


def test_what_another_machine_may_be_writing_is_left_alone_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / temporary_name('a.png', NOBODY)
    elsewhere.write_text('half')
    monkeypatch.setattr(socket, 'gethostname', lambda: 'elsewhere')
    atomic_write_module._machine.cache_clear()
    try:
        assert temporary_name('a.png', NOBODY) != elsewhere.name
        remove_leftovers(tmp_path)
        assert elsewhere.exists()
        os.utime(elsewhere, (time.time() - 86_500, time.time() - 86_500))
        remove_leftovers(tmp_path)
        assert not elsewhere.exists()
    finally:
        atomic_write_module._machine.cache_clear()


def test_leftovers_of_a_folder_and_of_those_in_it(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / 'sub'):
        place.mkdir(exist_ok=True)
        (place / temporary_name('a', NOBODY)).touch()
    remove_leftovers(tmp_path, below=False)
    assert names(tmp_path) == ['sub', f'sub/{temporary_name("a", NOBODY)}']
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ['sub']


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    names = ['a' * 251 + '.txt', 'b' * 251 + '.txt']
    with atomic_write(tmp_path / names[0]) as first, atomic_write(tmp_path / names[1]) as second:
        first.write_text('a')
        second.write_text('b')
    assert [(tmp_path / name).read_text() for name in names] == ['a', 'b']
