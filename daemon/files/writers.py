"""Whether somebody has a file open for writing, and how an original goes without a writer's bytes.

A *read lease*, fcntl(2), is refused by the kernel while anybody has the file open for writing; while it is held, who
opens the file for writing has to wait. Only the owner of a file may take one, root, and who has CAP_LEASE. Where there
is none to be had, the open files of those processes that may be looked into are gone through. On a network file system
neither knows of writers on other machines.
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
from daemon.files.renaming import Entry, close
from daemon.files.source import OPEN_FLAGS, BeingWritten
from models.text.language import tr

#: Here a lease is refused also for reasons of the server's.
_REFUSED_BY_SERVERS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs"})
#: Seconds for which the table of mounts is believed.
_MOUNTS_HOLD = 60.0
_LEASE_GOES_ON = fcntl.F_RDLCK
_WRITABLE = 0o200


class Writer(Enum):
    """Who may be writing a file."""

    SOMEBODY = "somebody"  # has it open for writing
    NOBODY = "nobody"
    UNKNOWN = "unknown"  # somebody of whom this process cannot know, perhaps


def of_path(path: str, *, look_around: bool = True) -> Writer:
    """Who writes a file now; UNKNOWN too where it cannot be opened.

    ``look_around``: go through the open files of other processes where no lease is granted.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError:
        return Writer.UNKNOWN
    try:
        return _of(descriptor, look_around=look_around)
    finally:
        close(descriptor)


def is_being_written(entry: Entry) -> bool:
    """Whether a program is known to have the file open for writing."""
    try:
        descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    except OSError:
        return False
    try:
        return _of(descriptor) is Writer.SOMEBODY
    finally:
        close(descriptor)


def unlink_closed(private: Entry, meant: Callable[[Entry], bool]) -> bool:
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
        if writer is not Writer.SOMEBODY and not meant(private):
            return False
        if writer is Writer.SOMEBODY or (writer is Writer.NOBODY and not is_leased(descriptor)):
            raise BeingWritten(tr("'{name}' is open for writing", name=private.name))
        private.unlink()
        return True
    finally:
        close(descriptor)


def _of(descriptor: int, *, look_around: bool = True) -> Writer:
    """Like ``take_lease``, without keeping the lease: a writer that does not want to wait would be turned away."""
    writer = take_lease(descriptor, look_around=look_around)
    if writer is Writer.NOBODY:
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return writer


def take_lease(descriptor: int, *, look_around: bool = True) -> Writer:
    """Who writes an open file; with NOBODY a lease is held until the descriptor is closed."""
    try:
        # The kernel's signal when somebody opens the file would end this process, SIGIO; this one passes unnoticed.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and network_kind(descriptor) not in _REFUSED_BY_SERVERS:
            return Writer.SOMEBODY
        return Writer.SOMEBODY if look_around and _is_open_elsewhere(descriptor) else Writer.UNKNOWN
    if network_kind(descriptor) is None:
        return Writer.NOBODY
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.UNKNOWN  # nobody on this machine


def is_leased(descriptor: int) -> bool:
    """Whether nobody waits for the lease to be given up."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == _LEASE_GOES_ON


class _Kinds:
    """Kinds of the network file systems, by device number."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._until = -1.0

    def kind(self, device: int) -> str | None:
        now = time.monotonic()
        if now >= self._until:
            self._kinds, self._until = kinds_by_device(), now + _MOUNTS_HOLD
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
