"""Is this still that file? What may be asked of a name, and what each answer stands on.

No single mark of a file is enough. Inode numbers are used again, at once on ext4, and some network file systems make
them up anew at every look. Device numbers change when the machine starts anew, so that none are compared. Size and time
are the same after a restored backup. The content is sure, costs a read, and is not known of files over the limit.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from datetime import UTC, datetime, timedelta

from daemon.files.copying import sha256_of
from daemon.files.renaming import Entry
from daemon.files.source import Identity
from daemon.journal.records import Filing

#: A copy is made so long after the decision at most; an older one that was edited is no longer known by its inode.
_COPYING = timedelta(seconds=60)

_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
_SYMLINK_NOFOLLOW, _BTIME = 0x100, 0x800
#: Bytes of ``struct statx``, where its mask and its time of birth are, and the formats of these.
_STATX_SIZE, _MASK_FORMAT, _BIRTH, _BIRTH_FORMAT = 256, "=I", 80, "=qI"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_meant(entry: Entry, row: Filing) -> bool:
    """Whether a name stands for the file that was decided on, in that state: it may be moved, and dropped for a copy.

    The inode with size and time, or where inode numbers mean nothing the content with them. Raises OSError.
    """
    status = entry.status()
    if not stat.S_ISREG(status.st_mode) or _state(status) != (row.identity.size, row.identity.mtime_ns):
        return False
    return status.st_ino == row.identity.ino or (row.sha256 is not None and sha256_of(entry) == row.sha256)


def is_filed(entry: Entry, row: Filing) -> bool:
    """Whether it is the file that was filed, as it was: it may be judged anew, or called a correction.

    The inode with size and time, or the content. Raises OSError.
    """
    status = entry.status()
    if not stat.S_ISREG(status.st_mode):
        return False
    unchanged = _state(status) == (row.identity.size, row.identity.mtime_ns)
    return (unchanged and status.st_ino == row.filed_ino) or _has_content(entry, status, row)


def is_filed_or_edited(entry: Entry, row: Filing) -> bool:
    """Whether it is the file that was filed, perhaps edited since: it may go back, and nothing is read from it.

    As `is_filed`, or the inode, unless that was born after the filing: then it is a stranger's, to which the number
    was given once more. Of a sidecar the name is enough: programs write it anew with every note. Raises OSError.
    """
    status = entry.status()
    if not stat.S_ISREG(status.st_mode):
        return False
    if row.image_id is not None and row.action == "move":
        return True
    if is_filed(entry, row):
        return True
    if status.st_ino != row.filed_ino:
        return False
    born = _birth(entry)
    return born is not None and born <= row.time + (timedelta() if row.copy_ino is None else _COPYING)


def is_made_here(entry: Entry, row: Filing, beside: int | None) -> bool:
    """Whether it is what this filing put at its destination: for recovery, which drops the original for it.

    The inode that the journal has of the copy, else the image's own with size and time, on the file system of its
    open folder (``beside``, if that is there); and the content. Raises OSError.
    """
    try:
        status = entry.status()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    if row.copy_ino is not None:
        same = (status.st_ino, status.st_size) == (row.copy_ino, row.identity.size)
    else:
        same = Identity.of(status)[1:] == row.identity[1:]
        same = same and (beside is None or os.fstat(beside).st_dev == status.st_dev)
    return same and row.sha256 in (None, sha256_of(entry))


def has_content(entry: Entry, row: Filing) -> bool:
    """Whether a regular file has the bytes of the image, whoever put it there. Raises OSError."""
    return _has_content(entry, entry.status(), row)


def is_unchanged(entry: Entry, identity: Identity) -> bool:
    """Whether a name still stands for a file that was looked at a moment ago. Raises OSError."""
    try:
        return Identity.of(entry.status()) == identity
    except FileNotFoundError:
        return False


def is_one_folder(one: int, other: int) -> bool:
    """Whether two open folders are the same one, by whatever mount each was reached: its names are one name, then."""
    return os.path.samestat(os.fstat(one), os.fstat(other))


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _has_content(entry: Entry, status: os.stat_result, row: Filing) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size != row.identity.size or row.sha256 is None:
        return False
    return sha256_of(entry) == row.sha256


def _birth(entry: Entry) -> datetime | None:
    """When a file was made, for which Python has no function; None where the file system does not know."""
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    if _statx is None or _statx(entry.folder, os.fsencode(entry.name), _SYMLINK_NOFOLLOW, _BTIME, answer) != 0:
        return None
    (mask,) = struct.unpack_from(_MASK_FORMAT, answer)
    seconds, nanoseconds = struct.unpack_from(_BIRTH_FORMAT, answer, _BIRTH)
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000) if mask & _BTIME else None
