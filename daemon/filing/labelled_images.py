"""Find where a labelled image lies now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from daemon.files.roots import OpenFolders, Roots
from daemon.journal.labels import Label
from daemon.journal.records import Filing


def find_labelled(label: Label, roots: Roots, filed_with_inode: Callable[[list[int]], Sequence[Filing]]) -> Path | None:
    """Find where an image lies now: where it lay then, or where a filing has put it; None if it is at neither place.

    It is recognised by its size and time alone, as in a history; before it is read, it must be checked more closely.
    ``filed_with_inode``: as in the journal, and may raise what that raises.
    """
    for path in _places(label, filed_with_inode):
        try:
            with OpenFolders(roots) as folders:
                status = folders.entry(path).stat()
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) == (label.identity.size, label.identity.mtime_ns):
            return path
    return None


def _places(label: Label, filed_with_inode: Callable[[list[int]], Sequence[Filing]]) -> Iterator[Path]:
    yield label.path  # mostly it lies there, and the journal is not asked
    rows = filed_with_inode([label.identity.ino])
    yield from (row.destination for row in rows if row.destination is not None and row.sha256 == label.sha256)
