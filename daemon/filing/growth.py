"""Whether one file is an earlier state of another: what a writer had written when it was copied, and nothing else."""

from __future__ import annotations

import os

import numpy as np

from daemon.files.copying import sha256_of
from daemon.files.renaming import Entry, close, drop
from daemon.files.source import OPEN_FLAGS, Identity
from daemon.filing.private_names import private_name
from daemon.journal.records import Filing

_CHUNK = 1 << 20


def is_earlier_state(old: Entry, new: Entry) -> bool:
    """Whether the new file holds all that the old one does: more may follow, and gaps (zeros) may be filled.

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


def drop_half(copy: Entry, original: Entry, filing: Filing) -> bool:
    """Remove the copy or link that a filing made, if it is as it was made, and an earlier state of its original.

    Returns whether it is gone. Raises OSError.
    """
    before = Identity.of(original.status())

    def is_half(entry: Entry) -> bool:
        # Claimed by now: where the two names were one in a way that nobody could see, the original is gone.
        if not original.exists() or Identity.of(original.status()) != before:
            return False
        status = entry.status()
        if status.st_ino != filing.filed_ino:
            return False
        if os.path.samestat(status, original.status()):
            return status.st_nlink > 1
        return sha256_of(entry) == filing.sha256 and is_earlier_state(entry, original)

    return drop(copy, private_name("drop", filing), is_half)


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
            was, now = np.frombuffer(chunk, np.uint8), np.frombuffer(later, np.uint8)
            if was[was != now].any():
                return False
        start += len(chunk)
    return True
