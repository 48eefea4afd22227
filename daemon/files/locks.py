"""Lock files and folders with the kernel's locks, as far as a file system has them."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from models.errors import UserError
from models.text.language import tr

#: The table of proc_locks(5).
LOCKS = Path("/proc/locks")

#: A table of fewer bytes is read at once. The kernel hands out a longer one in pieces of a page, and leaves out lines
#: where others before them have been unlocked meanwhile: it is read several times.
_AT_ONCE = 3000
_READS = 5

#: The file system does not know flock(2); some of them know locks of byte ranges.
_NO_FLOCK = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
#: The errors by which a lock is refused that somebody else holds.
_HELD = frozenset({errno.EAGAIN, errno.EACCES})


class FolderBusy(UserError):
    """Somebody else is at work on a folder: a later try may succeed.

    ``for_a_command``: what to say where another folder would be no help.
    """

    def __init__(self, message: str, for_a_command: str = "") -> None:
        super().__init__(message)
        self.for_a_command = for_a_command or message


def busy(folder: Path, pid: object = None, host: object = None) -> FolderBusy:
    """Make the error that another daemon is at work on a folder, with its process and machine if known."""
    if not isinstance(pid, int) or not isinstance(host, str):
        return FolderBusy(
            tr("another daemon is at work on {folder}: stop it first, or give another folder", folder=folder),
            tr(
                "a daemon is at work on {folder} and does not answer this command: try again in a moment, or stop it "
                "first (--dry-run may be used meanwhile)",
                folder=folder,
            ),
        )
    who = {"folder": folder, "pid": pid, "host": host}
    return FolderBusy(
        tr(
            "another daemon is at work on {folder} (process {pid} on {host}): stop it first, or give another folder",
            **who,
        ),
        tr(
            "a daemon is at work on {folder} (process {pid} on {host}) and does not answer this command: try again "
            "in a moment, or stop it first (--dry-run may be used meanwhile)",
            **who,
        ),
    )


def lock_descriptor(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where somebody else holds it.

    It counts as locked on a file system that has no locks at all. Shares of NFS and SMB have them at the server, so
    that they hold between machines.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        return error.errno not in _NO_FLOCK or _lock_bytes(descriptor)
    return True


def _lock_bytes(descriptor: int) -> bool:
    """Lock an open file, not for the process as a whole; True also where the file system has no such locks."""
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
    except OSError as error:
        return error.errno not in _HELD
    return True


def holders(inode: int) -> set[int]:
    """List the users whose processes hold a flock on a file of that inode, as far as this process can see them."""
    users = set()
    for line in _lines():
        fields = line.split()
        if len(fields) < 6 or fields[1] != "FLOCK" or fields[5].rpartition(":")[2] != str(inode):
            continue
        try:
            users.add(Path(f"/proc/{fields[4]}").stat().st_uid)
        except OSError:
            continue
    return users


def _lines() -> set[str]:
    lines: set[str] = set()
    for _ in range(_READS):
        try:
            text = LOCKS.read_text(encoding="ascii", errors="replace")
        except OSError:
            break
        lines.update(text.splitlines())
        if len(text) < _AT_ONCE:
            break
    return lines
