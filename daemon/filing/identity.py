"""Is this still that file? Which marks of a file say so, and how far each answer may be trusted.

What a single mark is worth:

- The inode number is used again, at once on ext4, and some network file systems make it up anew at every look.
- The device number changes when the machine starts anew. It is never compared with the journal's.
- Size and time are those of a restored backup too, and of pictures without compression the size is always the same.
- The birth, which a file keeps through every rename, edit and `utime`, tells a younger file that was given an old inode
  number. Not every file system knows it; it goes by the machine's clock, or by that of the file server.
- The content is sure. It costs reading the file, and is not in the journal for files over the size limit.

Each question below says what its answer rests on. Those on the way of every image (`is_as_read`, `is_as_filed`) read
nothing where inode, size and time agree. In doubt the answer is no, and the file stays where it is.

Two answers rest on the inode number alone: `has_inode`, within the seconds of one transfer, and that of `renaming.drop`
about a file that has a private name. Which files of an inbox are not filed again, the journal itself says
(`records.filed_before`); what a writer has added to a file, `growth` says.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.files.copying import sha256_of
from daemon.files.renaming import Entry
from daemon.files.source import Identity
from daemon.journal.records import Filing

#: A copy is made so long after the decision at most; an older one that was edited is no longer known by its inode.
_COPYING = timedelta(seconds=60)
#: In place of an open folder: the name is a path as a whole (``AT_FDCWD``).
_NO_FOLDER = -100

#: The system call, which tells when a file was made; None where the C library has none.
statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
_SYMLINK_NOFOLLOW, _BTIME = 0x100, 0x800
#: Bytes of ``struct statx``, where its mask and its time of birth are, and the formats of these.
_STATX_SIZE, _MASK_FORMAT, _BIRTH, _BIRTH_FORMAT = 256, "=I", 80, "=qI"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_as_read(entry: Entry, row: Filing) -> bool:
    """Whether it is the image that was read and decided on, unchanged: it may be moved, and dropped for a copy.

    Rests on size and time, and on the inode or the content: a share may have made up another inode number.
    Raises OSError.
    """
    status = entry.status()
    if not is_in_filed_state(status, row):
        return False
    return status.st_ino == row.identity.ino or (row.sha256 is not None and sha256_of(entry) == row.sha256)


def is_as_filed(entry: Entry, row: Filing) -> bool:
    """Whether it is what was filed, unchanged: it may be classified anew, and where it lies elsewhere, was moved there.

    Rests on inode, size and time together, or on the content. Raises OSError.
    """
    status = entry.status()
    return (is_in_filed_state(status, row) and status.st_ino == row.filed_ino) or _has_content(entry, status, row)


def is_filed_or_edited(entry: Entry, row: Filing) -> bool:
    """Whether it is what was filed, perhaps edited since: it may go back to its inbox, and sidecars may follow it.

    Rests on what `is_as_filed` does, or on the inode with a birth before the filing. Of a sidecar that was moved the
    name is enough: programs replace the file with every note. Raises OSError.
    """
    if row.image_id is not None and row.action == "move":
        return stat.S_ISREG(entry.status().st_mode)
    return is_as_filed(entry, row) or is_same_inode(entry, row, row.filed_ino)


def is_same_inode(entry: Entry, row: Filing, inode: int) -> bool:
    """Whether a regular file has had this inode number since before the filing, whatever is in it now.

    Rests on the inode and the birth; of another file system, ask nothing. Raises OSError.
    """
    status = entry.status()
    return status.st_ino == inode and _is_born_before(entry, status, row)


def seems_filed(path: Path, row: Filing, inode: int) -> bool:
    """Whether a path seems to be an image's, for people to read and for nothing else: no file is read for it.

    Rests on size and time, or on the inode (``inode``: which it had there) with a birth before the filing.
    """
    entry = Entry(_NO_FOLDER, str(path))
    try:
        return is_in_filed_state(entry.status(), row) or is_same_inode(entry, row, inode)
    except (OSError, ValueError):
        return False


def is_made_here(entry: Entry, row: Filing, source_folder: int | None) -> bool:
    """Whether it is what this filing put at its destination: for recovery, which drops the original for it.

    Rests on the content, and on the inode that the journal has of the copy; of a file that was renamed on its own
    inode, size and time, on the file system of its open ``source_folder`` (if that is there). Raises OSError.
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
        same = Identity.from_stat(status).on_any_device == row.identity.on_any_device
        same = same and (source_folder is None or os.fstat(source_folder).st_dev == status.st_dev)
    return same and (row.sha256 is None or sha256_of(entry) == row.sha256)


def is_just_made(entry: Entry, row: Filing) -> bool:
    """Whether it is the copy or link that this transfer has just made, and nobody has added to: it may be taken back.

    Rests on the inode, and of a copy, which may be torn, on the size. Raises OSError.
    """
    status = entry.status()
    return status.st_ino == row.filed_ino and (row.copy_ino is None or status.st_size <= row.identity.size)


def has_inode(entry: Entry, inode: int) -> bool:
    """Whether a name has this inode number, which is enough only within one transfer. Raises OSError."""
    try:
        return entry.status().st_ino == inode
    except FileNotFoundError:
        return False


def has_content(entry: Entry, row: Filing) -> bool:
    """Whether a regular file has the bytes of the image, whoever put it there. Raises OSError."""
    return _has_content(entry, entry.status(), row)


def is_unchanged(entry: Entry, identity: Identity) -> bool:
    """Whether a name still stands for the file that it stood for a moment ago, in that state: by all but the content.

    Raises OSError.
    """
    try:
        return Identity.from_stat(entry.status()) == identity
    except FileNotFoundError:
        return False


def is_one_folder(one: int, other: int) -> bool:
    """Whether two open folders are the same one, by whatever mount each was reached: its names are one name, then."""
    return os.path.samestat(os.fstat(one), os.fstat(other))


def image_key(row: Filing) -> tuple[object, ...]:
    """What the filings of one image have in common as long as it is neither edited nor copied, and of no others."""
    return row.filed_ino, row.sha256 or (row.identity.size, row.identity.mtime_ns)


def is_filed_on(older: Filing, newer: Filing) -> bool:
    """Whether the newer filing took the image from where the older one had put it, by a rename or a copy."""
    has_same_content = older.sha256 is not None and older.sha256 == newer.sha256
    return newer.source == older.destination and (has_same_content or newer.identity.ino == older.filed_ino)


def is_in_filed_state(status: os.stat_result, row: Filing) -> bool:
    """Whether a regular file has the size and time that were filed: perhaps it is the image, or another one like it."""
    state = status.st_size, status.st_mtime_ns
    return stat.S_ISREG(status.st_mode) and state == (row.identity.size, row.identity.mtime_ns)


def _has_content(entry: Entry, status: os.stat_result, row: Filing) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size != row.identity.size or row.sha256 is None:
        return False
    return sha256_of(entry) == row.sha256


def _is_born_before(entry: Entry, status: os.stat_result, row: Filing) -> bool:
    """Whether a regular file was there when the image was filed; a younger one is a stranger's."""
    if not stat.S_ISREG(status.st_mode):
        return False
    born = _birth(entry)
    return born is not None and born <= row.time + (timedelta() if row.copy_ino is None else _COPYING)


def _birth(entry: Entry) -> datetime | None:
    """When a file was made, for which Python has no function; None where the file system does not know."""
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    if statx is None or statx(entry.folder, os.fsencode(entry.name), _SYMLINK_NOFOLLOW, _BTIME, answer) != 0:
        return None
    (mask,) = struct.unpack_from(_MASK_FORMAT, answer)
    seconds, nanoseconds = struct.unpack_from(_BIRTH_FORMAT, answer, _BIRTH)
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000) if mask & _BTIME else None
