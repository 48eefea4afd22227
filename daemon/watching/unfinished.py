"""Find unfinished files: they are stable, but their writer has them open, or may have."""

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
from models.files.image_names import is_raw_name
from models.text.language import mark, tr

#: Seconds until an unfinished file is examined again.
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
_ENDS_EARLY = mark("it ends too early, and nobody has said that it was closed")
_GAPS = mark("it was closed, but parts of it were never written, or its end is all zeros")


@dataclass(frozen=True)
class UnfinishedStatus:
    """Number of unfinished files; the one that has been so for longest, and for how many seconds."""

    count: int = 0
    example: Path | None = None
    seconds: float = 0.0


#: Scanners of documents take up to this many seconds a page.
_PAGE_SECONDS = 10.0
#: In a single pass: a file that changed this recently, and that no program seems to have open, is left to the next one.
_ONCE_SECONDS = 30.0


class Unfinished:
    """Unfinished files of the inboxes. ``patience``: for how many seconds, if nobody knows whether one is open.

    Seconds are counted from what this process saw: the clock of a scanner, or of the machine that holds the files, may
    be wrong. A single pass (``once``) sees too little of them, and goes by their time stamps.
    """

    def __init__(self, patience: float, clock: Callable[[], float], *, once: bool = False) -> None:
        self._patience = patience
        self._clock = clock
        self._once = once
        self._since: dict[str, tuple[float, int]] = {}  # since when each is unfinished, and how often it was examined

    def __len__(self) -> int:
        return len(self._since)

    def paths(self) -> list[Path]:
        """List the unfinished files, by name."""
        return [Path(path) for path in sorted(self._since)]

    def pause(self, path: str, signature: Signature, candidate: Candidate) -> float | None:
        """Return the seconds until an unfinished file is examined again; None when it is finished."""
        why = self._why(path, signature, candidate)
        if why is None:
            self.forget(path)
            return None
        since, examinations = self._since.get(path, (self._clock(), 0))
        if examinations == 0:
            logger.info(tr("'{path}' is unfinished: {why}", path=path, why=tr(why)))
        self._since[path] = since, examinations + 1
        return _BACKOFF.delay(examinations)

    def quiet(self, path: str) -> float:
        """Return the seconds that a file is left alone after it was closed, or met, so that a scanner may add pages.

        TIFF is the one format that scanners write page by page. A raw file waits as long for the picture that it goes
        with.
        """
        if not path.lower().endswith((".tif", ".tiff")) and not is_raw_name(path):
            return 0.0
        return 0.0 if self._once and age(path) >= _PAGE_SECONDS else _PAGE_SECONDS

    def may_be_unfinished(self, path: str) -> bool:
        """Whether, in a single pass, a file that ends too early may still be written."""
        writer = writers.of_path(path)
        least = max(self._patience, _ONCE_SECONDS) if writer is Writer.UNKNOWN else _ONCE_SECONDS
        return writer is Writer.PRESENT or age(path, writer) < least

    def forget(self, path: str) -> None:
        """Forget a file that is gone or finished."""
        self._since.pop(path, None)

    def status(self) -> UnfinishedStatus:
        """Summarise the unfinished files."""
        if not self._since:
            return UnfinishedStatus()
        path, (since, _) = min(self._since.items(), key=lambda item: item[1][0])
        return UnfinishedStatus(len(self._since), Path(path), self._clock() - since)

    def _why(self, path: str, signature: Signature, candidate: Candidate) -> str | None:
        if os.path.lexists(f"{path}.aria2"):
            return _DOWNLOADING
        writer = writers.of_path(path)
        if writer is Writer.PRESENT:
            return _OPEN
        if signature.size == 0:
            # SMB clients and browsers create a file, close it, and open it again when the first bytes arrive.
            if self._is_fresh(path, candidate, writer, self._patience):
                return _EMPTY
            return _DOWNLOADING if _is_placeholder(path) else None
        if writer is Writer.ABSENT or candidate.closed:
            # An upload that was broken off after the file had been given its whole size may be resumed.
            is_fresh = self._is_fresh(path, candidate, writer, _ONCE_SECONDS)
            return _GAPS if is_fresh and has_gaps(path, compressed=True) else None
        if candidate.created and link_count(path) == 1:
            return _OPEN  # a hard link is created, too, without being open; it has another name
        if not self._is_fresh(path, candidate, writer, self._patience):
            return None
        if candidate.ends_early:
            return _ENDS_EARLY
        return _GROWING if candidate.grew or has_gaps(path) else None

    def _is_fresh(self, path: str, candidate: Candidate, writer: Writer, once: float) -> bool:
        """Whether the patience with a file is not over. ``once``: how old it must be in a single pass, in seconds."""
        if self._clock() - candidate.since >= self._patience:
            return False
        return not self._once or candidate.grew or age(path, writer) < once


def has_gaps(path: str, *, compressed: bool = False) -> bool:
    """Whether parts of a file were never written, as far as the file system says, or its end is all zeros.

    With ``compressed`` the file system may need fewer blocks than a file has bytes, for another reason.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if os.lseek(descriptor, 0, os.SEEK_HOLE) < status.st_size:
            return True
        if not compressed and status.st_blocks * _BLOCK + _SPARSE_BYTES < status.st_size:
            return True
        return not os.pread(descriptor, _TAIL, max(0, status.st_size - _TAIL)).strip(b"\0")
    except OSError:
        return False
    finally:
        close(descriptor)


def _is_placeholder(path: str) -> bool:
    """Whether an empty file is the placeholder of a browser's download beside it."""
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


def age(path: str, writer: Writer = Writer.UNKNOWN) -> float:
    """Return the seconds since a file was written, or, where a program may still write it, since it came here.

    That is the time of the file system, whatever the clock of the writer says.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return math.inf
    now = time.time()
    modified, changed = abs(now - status.st_mtime), abs(now - status.st_ctime)
    return modified if writer is Writer.ABSENT else min(modified, changed)


def link_count(path: str) -> int:
    """Count the names (hard links) of a file; 0 where it is gone."""
    try:
        return os.lstat(path).st_nlink
    except OSError:
        return 0
