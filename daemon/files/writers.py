"""Find out whether a program has a file open for writing, and remove an original without losing a writer's bytes.

The kernel refuses a *read lease*, fcntl(2), while a program has the file open for writing; while the lease is held, a
program that opens the file for writing has to wait. Only the owner of a file, root and processes with CAP_LEASE may
take one. Where none can be had, the open files of all processes are searched, as far as this process may read them. On
a network file system neither shows writers on other machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path

from daemon.files.mounts import kinds_by_device
from daemon.files.renaming import FileAt, close
from daemon.files.source import OPEN_FLAGS, BeingWritten
from models.text.language import tr

#: File systems where the server may refuse a lease for reasons of its own.
_REFUSED_BY_SERVERS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs"})
#: Seconds until the table of mounts is read again.
_MOUNTS_SECONDS = 60.0
_LEASE_HELD = fcntl.F_RDLCK
_WRITABLE = 0o200


class Writer(Enum):
    """Whether a file has a writer, a program that has it open for writing."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # perhaps one that this process cannot see


def of_path(path: str, *, search_processes: bool = True) -> Writer:
    """Find out whether a file has a writer; UNKNOWN too where it cannot be opened.

    ``search_processes``: go through the open files of other processes where no lease is granted.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError:
        return Writer.UNKNOWN
    try:
        return _of(descriptor, search_processes=search_processes)
    finally:
        close(descriptor)


def is_being_written(entry: FileAt) -> bool:
    """Whether a program is known to have the file open for writing."""
    try:
        descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    except OSError:
        return False
    try:
        return _of(descriptor) is Writer.PRESENT
    finally:
        close(descriptor)


def unlink_closed(private: FileAt, meant: Callable[[FileAt], bool]) -> bool:
    """Unlink a file that has a private name, if it is the one that is meant; returns whether it is.

    Raises BeingWritten, with the file as it was, when somebody has it open for writing; else OSError.
    """
    try:
        descriptor = os.open(private.name, OPEN_FLAGS, dir_fd=private.folder)
    except OSError:
        if not meant(private):
            return False  # no plain file, perhaps
        raise
    try:
        writer = take_lease(descriptor)
        # Looked at under the lease: what is seen now nobody changes.
        if writer is not Writer.PRESENT and not meant(private):
            return False
        if writer is Writer.PRESENT or (writer is Writer.ABSENT and not is_leased(descriptor)):
            raise BeingWritten(tr("'{name}' is open for writing", name=private.name))
        private.unlink()
        return True
    finally:
        close(descriptor)


def _of(descriptor: int, *, search_processes: bool = True) -> Writer:
    """Like ``take_lease``, without keeping the lease: a writer that does not want to wait would be turned away."""
    writer = take_lease(descriptor, search_processes=search_processes)
    if writer is Writer.ABSENT:
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return writer


def take_lease(descriptor: int, *, search_processes: bool = True) -> Writer:
    """Find out whether an open file has a writer. If ABSENT, a lease is held until the descriptor is closed."""
    try:
        # When a program opens the file the kernel sends SIGIO, which would end this process; SIGURG is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and network_kind(descriptor) not in _REFUSED_BY_SERVERS:
            return Writer.PRESENT
        return Writer.PRESENT if search_processes and _is_open_elsewhere(descriptor) else Writer.UNKNOWN
    if network_kind(descriptor) is None:
        return Writer.ABSENT
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.UNKNOWN  # there is none on this machine


def is_leased(descriptor: int) -> bool:
    """Whether the lease is still held, and no program waits for it."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == _LEASE_HELD


class _Kinds:
    """Kinds of the network file systems, by device number."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._until = -1.0

    def kind(self, device: int) -> str | None:
        now = time.monotonic()
        if now >= self._until:
            self._kinds, self._until = kinds_by_device(), now + _MOUNTS_SECONDS
        return self._kinds.get(device)


_kinds = _Kinds()


def network_kind(descriptor: int) -> str | None:
    """Return the kind of network file system that an open file is on; None on a local one."""
    return _kinds.kind(os.fstat(descriptor).st_dev)


def _is_open_elsewhere(descriptor: int) -> bool:
    """Whether a process that may be looked into has the file open for writing. It takes some milliseconds."""
    status = os.fstat(descriptor)
    for path in _writable_descriptors():
        with suppress(OSError):
            # The number is asked for first: a look at the file itself may hang where its mount is dead.
            number = _inode_of(path)
            if number in (None, status.st_ino) and os.path.samestat(Path(path).stat(), status):
                return True
    return False


def _inode_of(path: str) -> int | None:
    """Read the inode number of a process' open file; 0 for pipes and the like, None if the kernel does not tell."""
    if not str(Path(path).readlink()).startswith("/"):
        return 0
    process, _, number = path.rpartition("/fd/")
    match = re.search(rb"^ino:\s*(\d+)", Path(f"{process}/fdinfo/{number}").read_bytes(), re.MULTILINE)
    return None if match is None else int(match[1])


def _writable_descriptors() -> Iterator[str]:
    try:
        processes = os.listdir("/proc")  # noqa: PTH208 - names, not paths
    except OSError:
        return
    for process in filter(str.isdecimal, processes):
        with suppress(OSError), os.scandir(f"/proc/{process}/fd") as descriptors:
            for entry in descriptors:
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mode & _WRITABLE:
                        yield entry.path
