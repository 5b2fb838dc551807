"""Folders that files are written into, one run at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .atomic_write import remove_leftovers
from .folder_lock import folder_lock
from .result_folder import refuse_links


@contextmanager
def output_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder against other runs, without what killed ones have left half written in it.

    Args:
        folder: The folder; it is made.

    Raises:
        FolderInUseError: If another run holds it.
        OSError: If nothing may be written into it.
        ValueError: If there is a link in it by which files would be written elsewhere.
    """
    with folder_lock(folder):
        remove_leftovers(folder)
        refuse_links(folder)
        yield
