"""What went wrong around a command - memory, disk, files, data workers - in a sentence that says what mends it."""

import errno
import os
import re

_DATA_WORKER = re.compile(r'Caught (\w+) in (?:DataLoader worker process \d+|pin memory thread)[^\n]*\nOriginal Trace')
_ERROR_NUMBER = re.compile(r"\[Errno (\d+)\][^']*(?:'([^']*)')?")
_AMOUNT = re.compile(r'allocate ([\d.]+ ?[KMGTPE]?i?[Bb]\w*)')

_MEMORY_TYPES = ('MemoryError', '_ArrayMemoryError', 'OutOfMemoryError')
_MEMORY_PHRASES = (
    *("can't allocate memory", 'Cannot allocate memory', 'out of memory', 'Failed to allocate'),
    *('CUBLAS_STATUS_ALLOC_FAILED', 'CUDNN_STATUS_ALLOC_FAILED'),
)
_TILES = (
    'for a segmentation network tiles (--cfg-options model.test_cfg.mode=slide "model.test_cfg.crop_size=(512,512)" '
    '"model.test_cfg.stride=(341,341)")'
)
_LESS_MEMORY = {
    'train': 'a smaller batch whose gradients are added up (--cfg-options train_dataloader.batch_size=8 '
    'optim_wrapper.accumulative_counts=2), a config with a smaller crop, --amp on a GPU',
    'test': f'one image at a time (--cfg-options test_dataloader.batch_size=1), no --tta, {_TILES}',
    'labels': f'one image at a time (--cfg-options test_dataloader.batch_size=1), --no-tta, {_TILES}',
    'predict': '--batch-size 1, --no-tta, --working-pixels 1000000',
    'refine': 'fewer --jobs',
    'convert coco14': 'fewer --workers',
}
_FEWER_WORKERS = {
    'train': 'train_dataloader.num_workers=1',
    'test': 'test_dataloader.num_workers=1',
    'labels': 'test_dataloader.num_workers=1',
}
_WAY_ON = {
    'train': '--resume goes on from the last checkpoint',
    'labels': 'the same command goes on from here',
    'refine': 'the same command goes on from here',
    'convert coco14': 'the same command goes on from here',
}


def explain(error: BaseException, command: str) -> str | None:
    """A message for people; None if the error is none of these faults, or says what to do already.

    An error in a data worker comes wrapped in its traceback; only what it said counts.

    Args:
        error: What a command has raised.
        command: Its name.
    """
    kind, text = _said(error)
    if type(error).__module__.partition('.')[0] == 'sipe_mmseg':  # errors of our own are written for people
        return text
    for found in (_memory(error, kind, text, command), _data_worker(text, command), _file(error, text, command)):
        if found is not None:
            return found
    if 'Connection closed by peer' in text and isinstance(error, RuntimeError):  # gloo's, after a fault elsewhere
        return 'another process of this run has ended, and this one with it; the message of that one says why'
    return text if text != str(error) and isinstance(error, OSError | ValueError) else None


def _said(error: BaseException) -> tuple[str, str]:
    """Type and message of an error, of the original one if it comes from a data worker."""
    text = str(error)
    wrapped = _DATA_WORKER.match(text)
    if wrapped is None:
        return type(error).__name__, text
    parts = re.split(rf'^(?:\w+\.)*{wrapped[1]}: ', text, flags=re.MULTILINE)
    return wrapped[1], parts[-1].strip()


def _memory(error: BaseException, kind: str, text: str, command: str) -> str | None:
    by_text = isinstance(error, RuntimeError | OSError) or kind == 'error'  # OpenCV's is called that
    if kind not in _MEMORY_TYPES and not (by_text and any(phrase in text for phrase in _MEMORY_PHRASES)):
        return None
    on_gpu = any(name in text for name in ('CUDA', 'CUBLAS', 'CUDNN'))
    amount = _AMOUNT.search(text)
    help_ = [_LESS_MEMORY[command]] if command in _LESS_MEMORY else []
    if not on_gpu and command in _FEWER_WORKERS:
        help_.append(f'fewer data workers ({_FEWER_WORKERS[command]})')
    return _sentence(
        f'{"the GPU" if on_gpu else "this machine"} has not enough memory' + (f' ({amount[1]} more)' if amount else ''),
        f'What helps: {", ".join([*help_, "ending other programs"])}',
        _WAY_ON.get(command),
    )


def _data_worker(text: str, command: str) -> str | None:
    if 'DataLoader worker' not in text or not ('killed by signal' in text or 'exited unexpectedly' in text):
        return None
    fewer = f'--cfg-options {_FEWER_WORKERS[command]}' if command in _FEWER_WORKERS else 'num_workers=1'
    if 'Bus error' in text or 'shared memory' in text:
        why = 'for lack of shared memory: give the container more (docker run --shm-size=8g), or have fewer workers'
    else:
        why = (
            'by hand, or by the system because memory ran out (its log says which). What helps: fewer workers, which '
            'changes no result'
        )
    return _sentence(f'a data worker was killed, {why} ({fewer})', _WAY_ON.get(command))


def _file(error: BaseException, text: str, command: str) -> str | None:
    """An error of the system about a file, also if only its text is left."""
    if isinstance(error, OSError) and error.errno is not None:
        number, name = error.errno, None if error.filename is None else os.fsdecode(error.filename)
        if name is None and error.strerror != os.strerror(number):
            return error.strerror  # says what to do already
    else:
        found = _ERROR_NUMBER.search(text)
        if not isinstance(error, OSError | RuntimeError) or found is None:
            return None
        number, name = int(found[1]), found[2]
    about = f'{name}: ' if name else ''
    if number in (errno.ENOSPC, errno.EDQUOT):
        return _sentence(f'{about}no space left on the disk; free some', _WAY_ON.get(command))
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f'{about}{os.strerror(number)}: name another folder, or have this one made accessible'
    if number in (errno.ENOENT, errno.EIO, errno.ESTALE):
        what = 'no such file' if number == errno.ENOENT else os.strerror(number)
        return _sentence(
            f'{about}{what}. If it was there a moment ago: was it moved, or is its disk or network drive gone?',
            _WAY_ON.get(command),
        )
    return None


def _sentence(*parts: str | None) -> str:
    return '. '.join(part.rstrip('.') for part in parts if part)
