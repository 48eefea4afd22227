"""Read an image from the inbox: it is opened and read once, and known by its identity from then on."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from daemon.files.renaming import close
from daemon.files.roots import Roots
from models.errors import ImageError
from models.text.language import tr

#: Never follow a link in place of the image, never block on a FIFO, never leak the descriptor to a child.
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_NOT_A_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV})


class SourceError(Exception):
    """An image that cannot be read as it was offered; the subclass says what becomes of it."""


class SourceGone(SourceError):
    """The file is no longer there: another program took it, and there is nothing to do."""


class SourceChanged(SourceError):
    """The file was written to or replaced after it had settled: it must settle again."""


class BeingWritten(SourceChanged):
    """Somebody has the file open for writing, so that more of it may follow: it is unfinished."""


class NotAFile(SourceError):
    """A folder, symbolic link, FIFO, socket or device: not ours to move, it stays where it is."""


class SourceUnreadable(SourceError):
    """It cannot be read now (permission, I/O error, no descriptors left): try again later, the image stays."""


class Identity(NamedTuple):
    """Identity and state of a file: device, inode, size in bytes, modification time in ns."""

    dev: int
    ino: int
    size: int
    mtime_ns: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> Identity:
        """Take the identity from the answer of a ``stat`` call."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    @property
    def on_any_device(self) -> tuple[int, int, int]:
        """All but the device number, which may change when the machine starts anew."""
        return self.ino, self.size, self.mtime_ns


@dataclass(frozen=True, eq=False)
class Source:
    """One image, read: ``sha256`` is the hex digest of its bytes, None where it is over the limit and was not read.

    ``content``, the bytes themselves, is only there in the process that read them.
    """

    path: Path
    identity: Identity
    sha256: str | None
    content: bytes | None = None

    @property
    def data(self) -> bytes:
        """Return the bytes to decode; raises ImageError("too-large") for a file over the limit."""
        if self.content is None:
            raise ImageError(
                "too-large", tr("The file has {size} bytes, more than the limit allows.", size=self.identity.size)
            )
        return self.content


def open_source(path: Path, *, max_bytes: int, roots: Roots | None = None) -> Source:
    """Read a stable image once, through a descriptor that cannot be anything but a regular file.

    A file of more than ``max_bytes`` bytes is not read (its ``data`` raises ImageError). ``roots``: below them, or in
    another path as a whole, no folder may be a symbolic link. Raises SourceGone, SourceChanged, NotAFile or
    SourceUnreadable.
    """
    try:
        descriptor = (roots or Roots()).open(path, OPEN_FLAGS)
        try:
            return _read(path, descriptor, max_bytes)
        finally:
            close(descriptor)
    except OSError as error:
        if error.errno in _GONE:
            raise SourceGone(str(error)) from error
        if error.errno in _NOT_A_FILE:
            raise NotAFile(str(error)) from error
        raise SourceUnreadable(
            tr("'{path}' cannot be read: {reason}.", path=path, reason=error.strerror or str(error))
        ) from error


def _read(path: Path, descriptor: int, max_bytes: int) -> Source:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(tr("'{path}' is not a regular file", path=path))
    identity = Identity.from_stat(status)
    if identity.size > max_bytes:
        return Source(path, identity, sha256=None)
    content = os.read(descriptor, identity.size + 1)
    while len(content) <= identity.size and (more := os.read(descriptor, identity.size + 1)):
        content += more  # some network file systems give less at a time
    if Identity.from_stat(os.fstat(descriptor)) != identity:
        raise SourceChanged(tr("'{path}' changed while it was read", path=path))
    if len(content) != identity.size:
        # A document of a cloud, or what a kernel or a program makes up while it is read: no copy of it can be trusted.
        raise SourceUnreadable(
            tr(
                "'{path}' cannot be filed: its size is given as {size} bytes, but a different number can be read.",
                path=str(path),
                size=identity.size,
            )
        )
    return Source(path, identity, hashlib.sha256(content).hexdigest(), content)
