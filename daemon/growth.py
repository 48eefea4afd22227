"""Whether one file is an earlier state of another: what a writer had written when it was copied, and nothing else."""

from __future__ import annotations

import os

import numpy as np

from daemon.moves import Entry, close
from daemon.source import OPEN_FLAGS

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
