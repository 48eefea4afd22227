"""A copy that deserves to replace its original: verified, flushed, with times, mode and attributes."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from loguru import logger

from daemon.moves import Entry, close
from daemon.source import OPEN_FLAGS, Identity, SourceChanged

_CHUNK = 1 << 20
#: Bytes of a copy that are flushed at a time: on a slow share, the flush at the end of a film would take minutes.
_FLUSHED_AT_ONCE = 32 << 20
#: Is called whenever a part of a file was read or copied: a large one may take longer than a watchdog waits.
_on_progress: ContextVar[Callable[[], None]] = ContextVar("on_progress", default=lambda: None)
#: Extended attributes that go with a copy: what people and programs noted, and who may read it, which belongs with the
#: mode. No other: ``security.capability`` would give rights to whoever runs the copy, labels and signatures
#: (``security.selinux``, ``security.ima``, ``security.evm``) are those of the place or the inode, and ``trusted.*``
#: tells an overlay or a cluster what the original stands for, which the copy does not.
_ATTRIBUTES_KEPT = ("user.", "system.posix_acl_access")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTES_LOST = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODATA,
                              errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE})  # fmt: skip

#: Only the owner may set them, and a drive can be mounted for another user; or it cannot hold them at all.
_TIMES_LOST = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextmanager
def reporting_to(on_progress: Callable[[], None]) -> Iterator[None]:
    """Have this thread tell meanwhile, in the midst of a file, that copying gets on. It may not raise."""
    token = _on_progress.set(on_progress)
    try:
        yield
    finally:
        _on_progress.reset(token)


def create(entry: Entry, mode: int = 0o600) -> int:
    """A descriptor of a new, empty file. Raises FileExistsError when the name is taken, else OSError."""
    return os.open(entry.name, _NEW_FILE, mode, dir_fd=entry.folder)


def copy_into(target: int, source: Entry, identity: Identity, sha256: str | None) -> str:
    """Copy an image into an open new file, which is not flushed; returns the hex digest of what was copied.

    Raises SourceChanged when the source is not the file of ``identity`` and ``sha256`` from beginning to end, and
    OSError. Whatever it or the flush raises, the target is worth nothing then: a failed flush may not be repeated.
    """
    descriptor = os.open(source.name, OPEN_FLAGS, dir_fd=source.folder)
    try:
        before = os.fstat(descriptor)
        digest = _copy_bytes(descriptor, target)
        after = os.fstat(descriptor)
        same = Identity.of(before) == Identity.of(after) and before.st_mtime_ns == identity.mtime_ns
        if not same or (digest != sha256 and (sha256 is not None or before.st_ino != identity.ino)):
            raise SourceChanged(f"{source.name!r} changed while it was copied")
        _copy_attributes(descriptor, target, before)
        _begin_to_flush(target)
        return digest
    finally:
        close(descriptor)


def require_room(folder: int, size: int) -> None:
    """Raise OSError (ENOSPC) where a copy of so many bytes cannot fit, before the disk is full.

    A sparse file may say that it has any number of them, and its copy would take them all.
    """
    if size < _FLUSHED_AT_ONCE:
        return  # the usual case is found out by writing
    room = os.fstatvfs(folder)
    if room.f_blocks and size > room.f_bavail * room.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sha256_of(entry: Entry) -> str:
    """Hex digest of a regular file's bytes. Raises OSError."""
    descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    try:
        return _copy_bytes(descriptor, None)
    finally:
        close(descriptor)


def _copy_bytes(source: int, target: int | None) -> str:
    digest = hashlib.sha256()
    on_progress, unflushed = _on_progress.get(), 0
    while chunk := os.read(source, _CHUNK):
        digest.update(chunk)
        rest = memoryview(chunk)
        while target is not None and rest:
            rest = rest[os.write(target, rest) :]
        unflushed += len(chunk)
        if target is not None and unflushed >= _FLUSHED_AT_ONCE:
            os.fdatasync(target)
            unflushed = 0
        on_progress()
    return digest.hexdigest()


def _begin_to_flush(target: int) -> None:
    """Let the system write now what will be flushed, while the next copies are made."""
    with suppress(OSError):
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    """Owner, extended attributes, mode and times, in the order in which none of them undoes another.

    An image is worth more than its attributes: what the destination cannot hold, or may not be given, is left out.
    """
    with _losing("owner"):
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(target, status.st_uid, status.st_gid)
    names: list[str] = []
    with _losing("extended attributes"):
        names = [name for name in os.listxattr(source) if name.startswith(_ATTRIBUTES_KEPT)]
    for name in names:
        with _losing(name):
            os.setxattr(target, name, os.getxattr(source, name))
    with _losing("mode"):
        os.fchmod(target, status.st_mode & 0o777)
    with _losing("times", _TIMES_LOST):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def _losing(what: str, errors: Collection[int] = _ATTRIBUTES_LOST) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in errors:
            raise
        logger.debug("A copy goes without its {}: {}", what, error)
