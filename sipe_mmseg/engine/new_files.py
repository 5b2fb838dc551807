"""Which file a command has written, whatever the clock says."""

import glob
from pathlib import Path

FileStates = dict[str, tuple[int, int, int]]


def file_states(pattern: str) -> FileStates:
    """State of the files of a pattern of :mod:`glob`; two states differ if a file was written in between."""
    states = {}
    for path in glob.glob(pattern):
        found = Path(path).stat()
        states[path] = (found.st_ino, found.st_mtime_ns, found.st_size)
    return states


def newly_written(pattern: str, before: FileStates) -> Path | None:
    """The file of a pattern that was written since its files were as ``before``; the newest if there are several.

    Times of files are compared only then: a clock that is set back meanwhile makes a new file older than others.
    """
    written = {path: state for path, state in file_states(pattern).items() if before.get(path) != state}
    return Path(max(written, key=lambda path: written[path][1])) if written else None
