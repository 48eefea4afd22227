"""Files that appear complete and durable under their name, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` once it is written, synced and closed.

    Without ``replace`` an existing file stays as it is, whoever made it first, and `FileExistsError` is raised.
    Until then, and after a crash, what there is of the file has a hidden name of its own beside ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if replace:
            partial.rename(path)
        else:
            _rename_new(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _rename_new(partial: Path, path: Path) -> None:
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as exFAT
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        partial.rename(path)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable, fsync(2)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
