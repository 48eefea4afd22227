"""Recognise a file that was seen before: is this still that file?

How far each property identifies a file:

- Inode number: reused, on ext4 at once; some network file systems give a file another one each time it is looked up.
- Device number: may change when the machine restarts, so it is never compared with the journal's.
- Size and time: a restored backup has the same; uncompressed pictures all have the same size.
- Birth time: a file keeps it through every rename, edit and `utime`, so it exposes a newer file that reuses an inode
  number. Not every file system has it, and it follows the clock of the machine or of the file server.
- Content: certain, but the file must be read, and the journal has no hash of files over the size limit.

Each function below names the properties that it compares. `is_as_read`, asked when an image is filed, and
`is_as_filed`, asked when one is undone or sorted again, read no content where inode, size and time agree. In doubt the
answer is no, and the file stays.

Three trust the inode number alone: `has_inode` (within the seconds of one transfer), `is_just_made` for a link (moments
after it was made) and `renaming.drop` (for a file with a private name). Which files of an inbox were filed before is
answered by `records.filed_before`, what a writer has added to a file by `growth`.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.files.source import Identity
from daemon.journal.records import Filing

#: Longest time from a request to the birth of its copy; a copy that took longer is not recognised once it is edited.
_COPYING = timedelta(seconds=60)
#: In place of an open folder: the name is a path as a whole (``AT_FDCWD``).
_NO_FOLDER = -100

#: The system call, which tells when a file was made; None where the C library has none.
statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
_SYMLINK_NOFOLLOW, _BTIME = 0x100, 0x800
#: Bytes of ``struct statx``, where its mask and its time of birth are, and the formats of these.
_STATX_SIZE, _MASK_FORMAT, _BIRTH, _BIRTH_FORMAT = 256, "=I", 80, "=qI"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_as_read(entry: FileAt, row: Filing) -> bool:
    """Whether a file is the image that was decided on, unchanged: it may be moved, or removed once copied.

    Rests on size and time, and on the inode or the content: a network share may have changed the inode number.
    Raises OSError.
    """
    status = entry.stat()
    if not is_in_filed_state(status, row):
        return False
    return status.st_ino == row.identity.ino or (row.sha256 is not None and sha256_of(entry) == row.sha256)


def is_as_filed(entry: FileAt, row: Filing) -> bool:
    """Whether a file is what was filed, unchanged: it may be classified again; if found elsewhere, it was moved there.

    Rests on inode, size and time together, or on the content. Raises OSError.
    """
    status = entry.stat()
    return is_untouched(status, row) or _has_content(entry, status, row)


def is_filed_image(entry: FileAt, row: Filing) -> bool:
    """Whether a file is what was filed, edited or not: it may return to its inbox, and sidecars may follow it.

    Rests on the same as `is_as_filed`, or on the inode and a birth before the filing. A moved sidecar is recognised by
    its name alone, because programs replace the whole file when they change it. Raises OSError.
    """
    if row.image_id is not None and row.action == "move":
        return stat.S_ISREG(entry.stat().st_mode)
    return is_as_filed(entry, row) or is_same_inode(entry, row, row.filed_ino)


def is_same_inode(entry: FileAt, row: Filing, inode: int) -> bool:
    """Whether a regular file has had this inode number since before the filing, whatever is in it now.

    Rests on the inode and the birth: only for a file on the same file system. Raises OSError.
    """
    status = entry.stat()
    return status.st_ino == inode and _is_born_before(entry, status, row)


def seems_filed(path: Path, row: Filing, inode: int) -> bool:
    """Guess whether a path is the filed image, without reading it: only for what people are shown.

    Rests on size and time, or on ``inode``, the number it had there, and a birth before the filing.
    """
    entry = FileAt(_NO_FOLDER, str(path))
    try:
        return is_in_filed_state(entry.stat(), row) or is_same_inode(entry, row, inode)
    except (OSError, ValueError):
        return False


def is_put_here(entry: FileAt, row: Filing, source_folder: int | None) -> bool:
    """Whether this filing put the file at its destination: then recovery may remove the original.

    Rests on the content, and for a copy on the inode that the journal has of it; for a renamed file on its inode, size
    and time, and on being on the file system of ``source_folder`` (if that could be opened). Raises OSError.
    """
    try:
        status = entry.stat()
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


def is_just_made(entry: FileAt, row: Filing) -> bool:
    """Whether a file is the copy or link that was just made, with nothing added: it may be removed.

    Rests on the inode alone for a link; for a copy, which may be partial, also on the size. Raises OSError.
    """
    status = entry.stat()
    return status.st_ino == row.filed_ino and (row.copy_ino is None or status.st_size <= row.identity.size)


def has_inode(entry: FileAt, inode: int) -> bool:
    """Whether a name has this inode number, which is enough only within one transfer. Raises OSError."""
    try:
        return entry.stat().st_ino == inode
    except FileNotFoundError:
        return False


def has_content(entry: FileAt, row: Filing) -> bool:
    """Whether a regular file has the bytes of the image, whoever put it there. Raises OSError."""
    return _has_content(entry, entry.stat(), row)


def is_unchanged(entry: FileAt, identity: Identity) -> bool:
    """Whether a name is still the file that it was a moment ago, unchanged.

    Rests on device, inode, size and time. Raises OSError.
    """
    try:
        return Identity.from_stat(entry.stat()) == identity
    except FileNotFoundError:
        return False


def is_one_folder(one: int, other: int) -> bool:
    """Whether two open folders are the same folder, even if reached through different mounts."""
    return os.path.samestat(os.fstat(one), os.fstat(other))


def image_key(row: Filing) -> tuple[object, ...]:
    """Return a key that all filings of one image share as long as it is neither edited nor copied."""
    return row.filed_ino, row.sha256 or (row.identity.size, row.identity.mtime_ns)


def content_version(row: Filing) -> str:
    """Return what changes with the content that was filed: its sha256, or its size and time where there is none."""
    return row.sha256 or f"{row.identity.size:x}{row.identity.mtime_ns % (1 << 64):016x}"


def took_over_from(older: Filing, newer: Filing) -> bool:
    """Whether the newer filing took the image from where the older one had put it, by a rename or a copy."""
    has_same_content = older.sha256 is not None and older.sha256 == newer.sha256
    return newer.source == older.destination and (has_same_content or newer.identity.ino == older.filed_ino)


def is_in_filed_state(status: os.stat_result, row: Filing) -> bool:
    """Whether a regular file has the size and time that were filed: it may be the image, or another like it."""
    state = status.st_size, status.st_mtime_ns
    return stat.S_ISREG(status.st_mode) and state == (row.identity.size, row.identity.mtime_ns)


def is_untouched(status: os.stat_result, row: Filing) -> bool:
    """Whether a regular file has the inode number, size and time of what was filed: so it has its content."""
    return is_in_filed_state(status, row) and status.st_ino == row.filed_ino


def _has_content(entry: FileAt, status: os.stat_result, row: Filing) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size != row.identity.size or row.sha256 is None:
        return False
    return sha256_of(entry) == row.sha256


def _is_born_before(entry: FileAt, status: os.stat_result, row: Filing) -> bool:
    """Whether a regular file existed when the image was filed; a newer one is another file."""
    if not stat.S_ISREG(status.st_mode):
        return False
    born = _birth(entry)
    return born is not None and born <= row.time + (timedelta() if row.copy_ino is None else _COPYING)


def _birth(entry: FileAt) -> datetime | None:
    """Read the birth time of a file, for which Python has no function; None where the file system has none."""
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    if statx is None or statx(entry.folder, os.fsencode(entry.name), _SYMLINK_NOFOLLOW, _BTIME, answer) != 0:
        return None
    (mask,) = struct.unpack_from(_MASK_FORMAT, answer)
    seconds, nanoseconds = struct.unpack_from(_BIRTH_FORMAT, answer, _BIRTH)
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000) if mask & _BTIME else None
