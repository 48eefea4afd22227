"""Make copies that may replace their originals: verified, flushed, with times, mode and attributes."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from loguru import logger

from daemon.files.renaming import FileAt, close
from daemon.files.source import OPEN_FLAGS, Identity, SourceChanged
from models.text.language import tr

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
#: Bytes of a copy that are flushed at a time, since a flush cannot be interrupted, and that of a whole film takes
#: minutes on a slow share: at first this many, then as many as take about `_FLUSH_SECONDS`.
_FLUSHED_FIRST, _FLUSHED_AT_ONCE, _FLUSH_SECONDS = 8 << 20, 32 << 20, 0.5
#: Largest size of a file that is copied. Reading this many bytes takes minutes, even if they are holes.
MOST_COPIED = 64 << 30
_BLOCK = 512
#: Most pieces between holes that are copied one by one.
_MOST_PIECES = 10_000
#: Called after each part of a file that was read or copied: a large file may take longer than the watchdog allows.
_on_progress: ContextVar[Callable[[], None]] = ContextVar("on_progress", default=lambda: None)
#: Whether to stop in the middle of a file.
_is_to_stop: ContextVar[Callable[[], bool]] = ContextVar("is_to_stop", default=lambda: False)
#: Extended attributes that are copied: notes of people and programs, and access lists, which belong to the mode. No
#: others: ``security.capability`` would give rights to whoever runs the copy, labels and signatures
#: (``security.selinux``, ``security.ima``, ``security.evm``) belong to the folder or the inode, and ``trusted.*``
#: describes the original to an overlay or a cluster.
_ATTRIBUTES_KEPT = ("user.", "system.posix_acl_access")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: EIO is what rclone and other FUSE file systems without attributes answer.
_ATTRIBUTES_LOST = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODATA,
                              errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE, errno.EIO})  # fmt: skip
#: Only the owner may set them, and a drive can be mounted for another user; or it cannot hold them at all.
_TIMES_LOST = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Stopping(InterruptedError):
    """The program was told to stop while it read or copied a file; no other is begun."""


@contextmanager
def reporting_to(on_progress: Callable[[], None], is_to_stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let this thread report progress in the middle of a file, and ask whether to stop.

    Neither may raise.
    """
    tokens = _on_progress.set(on_progress), _is_to_stop.set(is_to_stop)
    try:
        yield
    finally:
        _on_progress.reset(tokens[0])
        _is_to_stop.reset(tokens[1])


def report_progress() -> None:
    """Report progress. Raises Stopping when the program is to stop."""
    _on_progress.get()()
    if _is_to_stop.get()():
        raise Stopping(errno.EINTR, "the program stops")


def create(entry: FileAt, mode: int = 0o600) -> int:
    """Create an empty file and return its descriptor. Raises FileExistsError when the name is taken, else OSError."""
    return os.open(entry.name, _NEW_FILE, mode, dir_fd=entry.folder)


def copy_into(target: int, source: FileAt, identity: Identity | None, sha256: str | None) -> str:
    """Copy an image into an open new file, which is not flushed; returns the hex digest of what was copied.

    ``identity`` is None for a copy of our own: nobody else writes it, a share may change its time at any moment,
    and ``sha256`` is enough. Raises SourceChanged when the source is not the file of ``identity`` and ``sha256`` from
    beginning to end, and OSError, also where more or less can be read than its size says, as with some files that are
    on no disk. After any error of it or of the flush the target is worthless: a failed flush must not be repeated.
    """
    descriptor = os.open(source.name, OPEN_FLAGS, dir_fd=source.folder)
    try:
        before = os.fstat(descriptor)
        digest = copy_bytes(descriptor, target, before)
        after = os.fstat(descriptor)
        if identity is None:
            same = digest in (sha256, None)
        else:
            same = Identity.from_stat(before) == Identity.from_stat(after) and before.st_mtime_ns == identity.mtime_ns
            same = same and (digest in (sha256, None) or (sha256 is None and before.st_ino == identity.ino))
        if not same:
            raise SourceChanged(tr("'{name}' changed while it was copied", name=source.name))
        if digest is None:
            raise _wrong_size(before.st_size)
        copy_attributes(descriptor, target, before)
        with _losing("times", _TIMES_LOST):
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        begin_to_flush(target)
        return digest
    finally:
        close(descriptor)


def require_room(target: int, source: FileAt, size: int) -> None:
    """Raise OSError where a file is too large to be copied into an open new one, before the disk is full.

    A sparse file may say that it has any number of bytes; its holes take no room where there can be holes.
    """
    if size > MOST_COPIED:
        most = MOST_COPIED >> 30
        raise OSError(errno.EFBIG, tr("it has {size} bytes, and {most} GB are copied at most", size=size, most=most))
    if size < _FLUSHED_AT_ONCE:
        return  # a small file may as well be tried
    room = os.fstatvfs(target)
    free = room.f_bavail * room.f_frsize
    if room.f_blocks and size > free and not (_can_have_holes(target) and _bytes_in(source) <= free):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sha256_of(entry: FileAt) -> str:
    """Return the hex digest of a regular file's bytes. Raises OSError, also where its size is wrong."""
    descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    try:
        status = os.fstat(descriptor)
        digest = copy_bytes(descriptor, None, status)
        if digest is None:
            raise _wrong_size(status.st_size)
        return digest
    finally:
        close(descriptor)


def _wrong_size(size: int) -> OSError:
    return OSError(errno.EIO, tr("its size is given as {size} bytes, but a different number can be read", size=size))


def copy_bytes(source: int, target: int | None, status: os.stat_result) -> str | None:
    """Read a file, copying it to ``target`` if given; return its digest, or None where ``status`` has a wrong size.

    The holes of a file are read like any bytes, since they count for the digest, and what a file system says of them
    has been wrong before. Where there can be holes in the copy, zeros become holes.
    """
    digest = hashlib.sha256()
    has_holes = target is not None and _is_sparse(status) and _can_have_holes(target)
    flushing = _Flushing()
    left = max(status.st_size, 0) + 1
    while chunk := os.read(source, min(_CHUNK, left)):
        left -= len(chunk)
        digest.update(chunk)
        if target is not None:
            if has_holes and chunk == _ZEROS[: len(chunk)]:
                os.lseek(target, len(chunk), os.SEEK_CUR)
            else:
                write_all(target, chunk)
                flushing.wrote(target, len(chunk))
        report_progress()
    if target is not None and has_holes:
        os.ftruncate(target, os.lseek(target, 0, os.SEEK_CUR))
    return digest.hexdigest() if left == 1 else None


def write_all(target: int, chunk: bytes) -> None:
    """Write all bytes to an open file."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(target, rest) :]


class _Flushing:
    """Flushes a copy bit by bit, as much at a time as takes about `_FLUSH_SECONDS`."""

    def __init__(self) -> None:
        self._unflushed, self._most = 0, _FLUSHED_FIRST

    def wrote(self, target: int, count: int) -> None:
        self._unflushed += count
        if self._unflushed < self._most:
            return
        began = time.monotonic()
        os.fdatasync(target)
        took = time.monotonic() - began
        fitting = self._unflushed * _FLUSH_SECONDS / took if took else _FLUSHED_AT_ONCE
        self._unflushed, self._most = 0, int(min(max(fitting, _CHUNK), _FLUSHED_AT_ONCE))


def _is_sparse(status: os.stat_result) -> bool:
    return status.st_size >= _CHUNK and status.st_blocks * _BLOCK < status.st_size


def _can_have_holes(new: int) -> bool:
    """Whether an open new file takes no room for what is not written; else its file system fills it with zeros."""
    try:
        os.ftruncate(new, _CHUNK)
        return os.fstat(new).st_blocks * _BLOCK < _CHUNK // 2
    except OSError:
        return False
    finally:
        os.ftruncate(new, 0)


def _bytes_in(source: FileAt) -> int:
    """Count the bytes of a file outside its holes; all of them where that is unknown. Raises OSError."""
    descriptor = os.open(source.name, OPEN_FLAGS, dir_fd=source.folder)
    try:
        size, start, data_bytes = os.fstat(descriptor).st_size, 0, 0
        for _ in range(_MOST_PIECES):
            try:
                begin = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError as error:
                return data_bytes if error.errno == errno.ENXIO else size
            start = os.lseek(descriptor, begin, os.SEEK_HOLE)
            data_bytes += start - begin
        return size
    finally:
        close(descriptor)


def begin_to_flush(target: int) -> None:
    """Let the system write now what will be flushed, while the next copies are made."""
    with suppress(OSError):
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)


def copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    """Copy the owner, extended attributes and mode, in the order in which none of them undoes another.

    A file is worth more than its attributes: what the destination cannot hold, or may not be given, is left out.
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


@contextmanager
def _losing(what: str, errors: Collection[int] = _ATTRIBUTES_LOST) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in errors:
            raise
        logger.debug("a copy goes without its {}: {}", what, error)
