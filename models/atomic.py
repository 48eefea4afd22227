"""Files that appear complete and durable under their name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from models.ownership import hand_over_file, make_folder

#: What fsync(2) answers for a folder on a file system that has no such thing.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


@contextlib.contextmanager
def atomic_file(
    path: Path, *, replace: bool = True, durable: bool = True, mode: int | None = 0o644
) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` once it is written, synced and closed.

    Without ``replace`` an existing file stays as it is, whoever made it first, and `FileExistsError` is raised.
    Without ``durable`` nothing is synced: for what a power cut may take. ``mode`` None: only its owner may read it.
    Until then, and after a crash, what there is of the file has a hidden name of its own beside ``path``.
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


def keep(partial: Path, path: Path) -> None:
    """Give a finished file its name in a cache, durably, with its sha256 beside it: what `is_whole` looks at."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    record(path, file_digest(partial))
    partial.rename(path)
    sync_folder(path.parent)


def record(path: Path, digest: str) -> None:
    """Write down which sha256 the file ``path`` of a cache has, or is about to have."""
    with atomic_file(_record_of(path)) as file:
        file.write(digest.encode())


def is_whole(path: Path) -> bool:
    """Whether a file is in a cache, and is what was put there; what a failing disk has left of it does not count."""
    try:
        return _record_of(path).read_text() == file_digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path | int) -> None:
    """Sync a folder, by its path or open, so that the names in it outlast a power cut, fsync(2). Raises `OSError`.

    Where the file system cannot sync folders there is nothing to be done, and nothing is raised: what was renamed is
    there.
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
