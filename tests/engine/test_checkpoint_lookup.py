"""The checkpoint of a work directory: the one it names, or the newest whole one."""

import errno
import io
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from sipe_mmseg.engine import checkpoint_lookup
from sipe_mmseg.engine.checkpoint_lookup import find_checkpoint, is_whole


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.handler.setLevel(logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def save(path: Path, written: int = 0) -> Path:
    """A small checkpoint, written so many seconds after the epoch."""
    torch.save({'meta': {}, 'state_dict': {'weight': torch.arange(5000.0)}}, path)
    os.utime(path, (written, written))
    return path


def cut(path: Path, share: float) -> None:
    written = path.stat().st_mtime
    os.truncate(path, int(share * path.stat().st_size))
    os.utime(path, (written, written))


def test_last_checkpoint_is_followed_even_if_the_folder_has_moved(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'has no last_checkpoint, which .*: name the checkpoint'):
        find_checkpoint(tmp_path)
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/run/epoch_5.pth')
    with pytest.raises(FileNotFoundError, match=r'names /elsewhere/run/epoch_5\.pth, .* nor epoch_5\.pth beside it'):
        find_checkpoint(tmp_path)
    save(tmp_path / 'epoch_6.pth', written=6)  # of another training: what is named comes first
    save(tmp_path / 'epoch_5.pth', written=5)
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_5.pth'
    (tmp_path / 'last_checkpoint').write_text(str(save(tmp_path / 'mine.pth')) + '\n')
    assert find_checkpoint(str(tmp_path)) == tmp_path / 'mine.pth'


def test_a_copy_of_a_work_directory_has_checkpoints_of_its_own(tmp_path: Path) -> None:
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    original.mkdir()
    (original / 'last_checkpoint').write_text(str(save(original / 'epoch_5.pth', written=5)))
    shutil.copytree(original, copy)
    assert find_checkpoint(copy) == copy / 'epoch_5.pth'
    cut(copy / 'epoch_5.pth', 0.5)
    save(copy / 'epoch_4.pth', written=4)
    assert find_checkpoint(copy) == copy / 'epoch_4.pth'
    for path in copy.glob('*.pth'):  # checkpoints that are kept elsewhere
        path.unlink()
    assert find_checkpoint(copy) == original / 'epoch_5.pth'


def test_checkpoints_of_another_place_and_name(tmp_path: Path) -> None:
    work_dir, place = tmp_path / 'run', tmp_path / 'big disk'
    work_dir.mkdir()
    place.mkdir()
    save(work_dir / 'epoch_2.pth', written=9)  # of a training that kept them here
    (work_dir / 'last_checkpoint').write_text(str(save(place / 'epoch_2.pth', written=2)))
    assert find_checkpoint(work_dir, place) == place / 'epoch_2.pth'
    (work_dir / 'epoch_2.pth').unlink()
    (work_dir / 'last_checkpoint').write_text('')
    assert find_checkpoint(work_dir, place) == place / 'epoch_2.pth'
    save(place / 'a.b_03.ckpt', written=3)
    save(place / 'axb_04.ckpt', written=4)
    assert find_checkpoint(work_dir, place, 'a.b_{:02d}.ckpt') == place / 'a.b_03.ckpt'


@pytest.mark.parametrize('number', [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'old'])
def test_a_disk_that_cannot_be_read_is_no_damage(
    number: int, is_zip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'epoch_1.pth'
    torch.save({'weight': torch.arange(5000.0)}, path, _use_new_zipfile_serialization=is_zip)
    if not is_zip:
        cut(path, 0.9)  # what torch can load is whole, and is not read again
    real = open

    def broken(*given: object) -> object:
        file = real(*given)
        return Broken(file)

    class Broken(io.BufferedReader):
        def __init__(self, file: io.BufferedReader) -> None:
            super().__init__(file.detach())

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() + (size or 0) > 100:
                raise OSError(number, os.strerror(number))
            return super().read(size)

    monkeypatch.setattr(checkpoint_lookup, 'open', broken, raising=False)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        is_whole(path)


@pytest.mark.parametrize('share', [0.0, 0.001, 0.5, 0.99])
def test_what_was_cut_short_is_not_taken(share: float, tmp_path: Path, warnings: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 10):
        (tmp_path / 'last_checkpoint').write_text(str(save(tmp_path / f'iter_{number}.pth', written=number)))
    save(tmp_path / 'best_mIoU_iter_2.pth', written=20)
    assert find_checkpoint(tmp_path) == tmp_path / 'iter_10.pth'
    assert warnings.messages == []
    cut(tmp_path / 'iter_10.pth', share)
    assert find_checkpoint(tmp_path) == tmp_path / 'iter_2.pth'
    (message,) = warnings.messages
    assert message == (
        f'{tmp_path}/iter_10.pth is cut short or damaged. Taking {tmp_path}/iter_2.pth, the newest that is whole'
    )
    cut(tmp_path / 'iter_2.pth', share)
    cut(tmp_path / 'iter_1.pth', share)
    with pytest.raises(FileNotFoundError) as error:
        find_checkpoint(tmp_path)
    damaged = [f'{tmp_path}/iter_{number}.pth is cut short or damaged' for number in (10, 2, 1)]
    assert str(error.value) == '; '.join(damaged) + ': name the checkpoint'


@pytest.mark.parametrize('note', [None, '', '\0\0\0\0', '/elsewhere/epoch_7.pth'])
def test_a_broken_note_hides_no_checkpoint(
    note: str | None, tmp_path: Path, warnings: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / 'epoch_8.pth', written=1)  # of a longer training that was here before
    save(tmp_path / 'epoch_4.pth', written=3)
    save(tmp_path / 'epoch_3.pth', written=2)
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_4.pth'
    (message,) = warnings.messages
    assert 'last_checkpoint' in message
    assert message.endswith(f'Taking {tmp_path}/epoch_4.pth, the newest that is whole')


def test_one_changed_byte_in_the_weights_is_found(tmp_path: Path) -> None:
    whole = save(tmp_path / 'epoch_1.pth').read_bytes()
    assert is_whole(tmp_path / 'epoch_1.pth')
    place = whole.index(torch.arange(5000.0).numpy().tobytes()[:400])
    (tmp_path / 'epoch_1.pth').write_bytes(whole[:place] + b'\1' + whole[place + 1 :])
    assert not is_whole(tmp_path / 'epoch_1.pth')


def test_the_old_format_is_whole_if_it_loads(tmp_path: Path) -> None:
    path = tmp_path / 'epoch_1.pth'
    torch.save({'weight': torch.arange(5000.0)}, path, _use_new_zipfile_serialization=False)
    assert is_whole(path)
    for share in (0.9, 0.01):
        cut(path, share)
        assert not is_whole(path)


def test_what_is_refused_is_told_as_such(tmp_path: Path, warnings: pytest.LogCaptureFixture) -> None:
    save(tmp_path / 'epoch_1.pth', written=1)
    path = tmp_path / 'epoch_2.pth'
    torch.save({'meta': os.system}, path, _use_new_zipfile_serialization=False)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_1.pth'
    (message,) = warnings.messages
    assert message.startswith(f"{path} was refused: it asks for 'posix.system', and a checkpoint may only hold")
    assert 'cut short' not in message


@pytest.mark.parametrize('error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_no_damage(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise error

    torch.save({'weight': torch.arange(5000.0)}, tmp_path / 'epoch_1.pth', _use_new_zipfile_serialization=False)
    monkeypatch.setattr('sipe_mmseg.compat.load_allowed', full)
    with pytest.raises(MemoryError, match=r'epoch_1\.pth could not be loaded'):
        is_whole(tmp_path / 'epoch_1.pth')
    save(tmp_path / 'epoch_2.pth')
    monkeypatch.setattr('zipfile.ZipFile.testzip', full)
    with pytest.raises(MemoryError, match=r'epoch_2\.pth could not be loaded'):
        is_whole(tmp_path / 'epoch_2.pth')


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / 'epoch_1.pth'
    for content in (b'', b'PK\5\6' + bytes(18), b'PK\3\4', os.urandom(1000)):
        path.write_bytes(content)
        assert not is_whole(path)
    with pytest.raises(FileNotFoundError):
        is_whole(tmp_path / 'epoch_2.pth')
