"""Tell whether one file is an earlier state of another, which its writer had not finished by then."""

from __future__ import annotations

import hashlib
import os
import stat
import struct

from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt, close, drop
from daemon.files.source import OPEN_FLAGS, Identity
from daemon.filing.identity import is_same_inode, is_unchanged
from daemon.filing.private_names import private_name
from daemon.journal.records import Filing

_CHUNK = 1 << 20
#: By version (TIFF, BigTIFF), as `_link_to_page` unpacks them: where the offset of the first page is; the format of the
#: number of entries of a page; the bytes of an entry; the format of the offset of the next page, which follows them.
_TIFF_VERSIONS = {42: (4, "H", 12, "I"), 43: (8, "Q", 20, "Q")}
_MOST_PAGES = 10_000


def is_earlier_state(old: FileAt, new: FileAt) -> bool:
    """Whether the new file has all bytes of the old one; it may be longer, and zeros (gaps) may have been filled.

    Raises OSError.
    """
    before = os.open(old.name, OPEN_FLAGS, dir_fd=old.folder)
    try:
        after = os.open(new.name, OPEN_FLAGS, dir_fd=new.folder)
        try:
            return _is_kept(before, after)
        finally:
            close(after)
    finally:
        close(before)


def remove_earlier_copy(copy: FileAt, original: FileAt, filing: Filing) -> bool:
    """Remove the copy or link of a filing if it is unchanged and an earlier state of its original.

    Return whether it was removed. Raises OSError.
    """
    before = Identity.from_stat(original.stat())

    def is_earlier_copy(entry: FileAt) -> bool:
        # The copy has a private name by now: if that took the original away, both names were one file.
        if not is_unchanged(original, before):
            return False
        status = entry.stat()
        if status.st_ino != filing.filed_ino:
            return False
        if os.path.samestat(status, original.stat()):
            return status.st_nlink > 1
        return sha256_of(entry) == filing.sha256 and is_earlier_state(entry, original)

    return drop(copy, private_name("drop", filing), is_earlier_copy)


def has_writer_continued(entry: FileAt, filing: Filing) -> bool:
    """Whether a file is what was moved there, and its writer has added to it since. Raises OSError.

    Either it has grown: the filed bytes are its beginning, but for the offset of a TIFF page that was added. Or inode
    and size are the same and the content is not, as of a writer that first gives a file its full size. An editor that
    saves a file mostly makes another inode, and a file that replaced it is younger than the filing.
    """
    descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    try:
        status = os.fstat(descriptor)
        size = filing.identity.size
        if not stat.S_ISREG(status.st_mode) or filing.sha256 is None or status.st_size < size:
            return False
        same = _sha256(descriptor, size) == filing.sha256
        if status.st_size == size:
            return not same and is_same_inode(entry, filing, filing.identity.ino)
        if same:
            return True
        link = _link_to_page(descriptor, size)
        return link is not None and _sha256(descriptor, size, link) == filing.sha256
    finally:
        close(descriptor)


def _is_kept(before: int, after: int) -> bool:
    start = 0
    while chunk := os.pread(before, _CHUNK, start):
        later = b""
        while len(later) < len(chunk):
            more = os.pread(after, len(chunk) - len(later), start + len(later))
            if not more:
                return False
            later += more
        if chunk != later:
            import numpy as np  # it takes long to load, and files that grew are few

            was, now = np.frombuffer(chunk, np.uint8), np.frombuffer(later, np.uint8)
            if was[was != now].any():
                return False
        start += len(chunk)
    return True


def _sha256(descriptor: int, size: int, zeros: range = range(0)) -> str:
    """Hash the first bytes of an open file, with zeros in place of some of them."""
    content, start = hashlib.sha256(), 0
    while start < size and (chunk := os.pread(descriptor, min(_CHUNK, size - start), start)):
        if zeros and zeros.start < start + len(chunk) and zeros.stop > start:
            first, end = max(zeros.start - start, 0), min(zeros.stop - start, len(chunk))
            chunk = chunk[:first] + bytes(end - first) + chunk[end:]
        content.update(chunk)
        start += len(chunk)
    return content.hexdigest()


def _link_to_page(descriptor: int, size: int) -> range | None:
    """Find where a TIFF says, within its first bytes, that its next page lies behind them. Raises OSError."""
    head = os.pread(descriptor, 16, 0)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version not in _TIFF_VERSIONS:
        return None
    begin, count_format, entry_bytes, link_format = _TIFF_VERSIONS[version]
    (page,) = struct.unpack_from(f"{order}{link_format}", head, begin)
    for _ in range(_MOST_PAGES):
        count_bytes, link_bytes = struct.calcsize(count_format), struct.calcsize(link_format)
        raw = os.pread(descriptor, count_bytes, page)
        if page >= size or len(raw) < count_bytes:
            return None
        link = page + count_bytes + struct.unpack(f"{order}{count_format}", raw)[0] * entry_bytes
        raw = os.pread(descriptor, link_bytes, link) if link + link_bytes <= size else b""
        if len(raw) < link_bytes:
            return None
        (page,) = struct.unpack(f"{order}{link_format}", raw)
        if page >= size:
            return range(link, link + link_bytes)
    return None
