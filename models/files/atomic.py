"""Write files so that they appear under their name complete and durable, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from models.files.ownership import hand_over_file, make_folder

#: The errors of fsync(2) for a folder where the file system does not support that.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


@contextlib.contextmanager
def atomic_file(
    path: Path, *, replace: bool = True, durable: bool = True, mode: int | None = 0o644
) -> Iterator[BinaryIO]:
    """Open a binary file that is renamed to ``path`` once it is written, flushed and closed.

    Without ``replace`` an existing file is kept, even if it has just been made, and `FileExistsError` is raised.
    Without ``durable`` nothing is flushed or synced: for files that may be lost in a power cut. With ``mode`` None only
    its owner may read the file. Until it is renamed, and after a crash, the file has a hidden name beside ``path``.
    """
    make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    hand_over_file(descriptor, path)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        if replace:
            partial.rename(path)
        else:
            _rename_new(partial, path)
        if durable:
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


def move_into_cache(partial: Path, path: Path) -> None:
    """Rename a finished file into a cache, durably, and record its sha256 beside it for `is_intact`."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    record_digest(path, file_digest(partial))
    partial.rename(path)
    sync_folder(path.parent)


def record_digest(path: Path, digest: str) -> None:
    """Record the sha256 that the file ``path`` of a cache has, or is about to have."""
    with atomic_file(_digest_file(path)) as file:
        file.write(digest.encode())


def is_intact(path: Path) -> bool:
    """Return whether a file is in a cache and has its recorded sha256, so that no disk fault has damaged it."""
    try:
        return _digest_file(path).read_text() == file_digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _digest_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def file_digest(path: Path) -> str:
    """Compute the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path | int) -> None:
    """Sync a folder (a path or a descriptor), so that the names in it survive a power cut. Raises `OSError`.

    Nothing is raised where the file system cannot sync folders: renames have been done all the same.
    """
    if isinstance(folder, int):
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_folder(descriptor)
    finally:
        os.close(descriptor)
