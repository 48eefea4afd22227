"""Stable files that wait for their writer all the same: what says so, and which they are."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.files import writers
from daemon.files.renaming import close
from daemon.files.source import OPEN_FLAGS
from daemon.files.writers import Writer
from daemon.watching.settle import Candidate, Signature
from models.backoff import Backoff
from models.text.language import mark, tr

#: Seconds until a file that waits is examined again.
_BACKOFF = Backoff(first=1.0, last=30.0)
_TAIL = 4096
#: A server's count of blocks may be this much short of the size, where files are compressed or small.
_SPARSE_BYTES = 1 << 16
_BLOCK = 512
_MOST_NAMES = 1_000  # read in a folder, when looking for the download to which an empty file belongs

_OPEN = mark("a program has it open for writing")
_DOWNLOADING = mark("its download goes on")
_EMPTY = mark("it is empty")
_GROWING = mark("it has grown or has gaps, and nobody has said that it was closed")


@dataclass(frozen=True)
class UnfinishedStatus:
    """How many stable files wait for their writer; one of them, and for how many seconds it has."""

    count: int = 0
    example: Path | None = None
    seconds: float = 0.0


#: Scanners of documents take up to this many seconds a page.
_PAGE_SECONDS = 10.0


class Unfinished:
    """The stable files of the inboxes that wait for their writer. ``patience``: seconds, where nobody can know."""

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._since: dict[str, tuple[float, int]] = {}  # since when each waits, and how often it was looked at

    def __len__(self) -> int:
        return len(self._since)

    def paths(self) -> list[Path]:
        """The files that wait, by name."""
        return [Path(path) for path in sorted(self._since)]

    def pause(self, path: str, signature: Signature, candidate: Candidate) -> float | None:
        """For how many seconds a file is to wait before it is looked at again; None when it may be taken."""
        why = self._why(path, signature, candidate)
        if why is None:
            self.forget(path)
            return None
        since, looks = self._since.get(path, (self._clock(), 0))
        if looks == 0:
            logger.info(tr("'{path}' waits for its writer: {why}", path=path, why=tr(why)))
        self._since[path] = since, looks + 1
        return _BACKOFF.delay(looks)

    def patience(self, path: str, signature: Signature, candidate: Candidate) -> float:
        """Seconds without a change after which a file that ends too early gets no more from its writer."""
        writer = writers.of_path(path)
        if writer is Writer.SOMEBODY:
            return math.inf
        if writer is Writer.NOBODY or candidate.closed or age(signature) >= self._patience:
            return 0.0
        return self._patience

    def forget(self, path: str) -> None:
        """It is gone, or waits no more."""
        self._since.pop(path, None)

    def status(self) -> UnfinishedStatus:
        """How things stand."""
        if not self._since:
            return UnfinishedStatus()
        path, (since, _) = min(self._since.items(), key=lambda item: item[1][0])
        return UnfinishedStatus(len(self._since), Path(path), self._clock() - since)

    def _why(self, path: str, signature: Signature, candidate: Candidate) -> str | None:
        if os.path.lexists(f"{path}.aria2"):
            return _DOWNLOADING
        writer = writers.of_path(path)
        if writer is Writer.SOMEBODY:
            return _OPEN
        quiet = self._clock() - candidate.since
        if signature.size == 0:
            # SMB clients and browsers create a file, close it, and open it again when the first bytes arrive.
            if quiet < self._patience and age(signature) < self._patience:
                return _EMPTY
            return _DOWNLOADING if _is_placeholder(path) else None
        if writer is Writer.NOBODY or candidate.closed:
            return None
        if candidate.created and _names(path) == 1:
            return _OPEN  # a hard link is created, too, without being open; it has another name
        if quiet >= self._patience:
            return None
        fresh = age(signature) < self._patience
        return _GROWING if candidate.grew or (fresh and has_gaps(path)) else None


def has_gaps(path: str) -> bool:
    """Whether parts of a file were never written, as far as the file system says, or its end is all zeros."""
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if os.lseek(descriptor, 0, os.SEEK_HOLE) < status.st_size:
            return True
        if status.st_blocks * _BLOCK + _SPARSE_BYTES < status.st_size:
            return True
        return not os.pread(descriptor, _TAIL, max(0, status.st_size - _TAIL)).strip(b"\0")
    except OSError:
        return False
    finally:
        close(descriptor)


def _is_placeholder(path: str) -> bool:
    """Whether a browser's download lies beside an empty file, whose name it will take."""
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_NAMES), entries, strict=False):
                if entry.name in (f"{name}.part", f"{name}.crdownload"):
                    return True
                if entry.name.startswith(f"{stem}.") and entry.name.endswith(f"{dot}{ending}.part"):
                    return True
    except OSError:
        return False
    return False


def pages_pause(path: str, signature: Signature | None) -> float:
    """Seconds that a file of several pages is left alone after it was closed, for a scanner that opens it again.

    TIFF is the one format that scanners write page by page; a file of long ago gets no more pages.
    """
    if signature is None or not path.lower().endswith((".tif", ".tiff")):
        return 0.0
    return _PAGE_SECONDS if age(signature) < _PAGE_SECONDS else 0.0


def age(signature: Signature) -> float:
    """Seconds since a file was written, by its own time: a file of long ago has no writer."""
    return abs(time.time() - signature.mtime_ns / 1e9)


def _names(path: str) -> int:
    try:
        return os.lstat(path).st_nlink
    except OSError:
        return 0
