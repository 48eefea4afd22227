"""Status of an image after filing, and its words for people."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path

from daemon.journal.records import Filing
from models.text.language import mark, tr

#: Errors of a folder, whatever the image is.
_OF_FOLDERS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


class Status(StrEnum):
    """Status of an image after filing."""

    FILED = "filed"
    UNDONE = "undone"  # an undo brought it back, or removed the copy
    PLANNED = "planned"  # a dry run: it would have been filed there, or undone
    CHANGED = "changed"  # written to or replaced meanwhile: back to settling
    GONE = "gone"  # another program or a person took it away
    HELD = "held"  # an undo brought it back: it stays until it changes, is renamed or released
    ALREADY = "already"  # copied, linked or refused before, in this very state
    REFUSED = "refused"  # unreadable and left where it is, because images are not to be moved
    LEFT = "left"  # noted, and left where it is, by the rule of its class or because it is a duplicate
    STOPPED = "stopped"  # told to stop on the way; the image is still where it was
    RETRY = "retry"  # failed for now: logged as an error, and tried again; the image is still where it was


_DESCRIPTIONS = {
    Status.FILED: mark("it is filed"),
    Status.UNDONE: mark("it is undone"),
    Status.PLANNED: mark("it would be filed"),
    Status.CHANGED: mark("it changed meanwhile"),
    Status.GONE: mark("it is no longer there"),
    Status.ALREADY: mark("it was done before"),
    Status.HELD: mark("it is held"),
    Status.REFUSED: mark("it cannot be read"),
    Status.LEFT: mark("it is left where it is"),
    Status.RETRY: mark("it cannot be filed now"),
    Status.STOPPED: mark("the program was told to stop"),
}


#: What may be done with images that leaves them where they are.
STAYING = frozenset({"leave"})


def status_of_staying(row: Filing) -> Status:
    """Say why an image stays in the inbox: it cannot be read, or it is left."""
    return Status.LEFT if row.reason is None else Status.REFUSED


def describe(status: Status) -> str:
    """Say in words what became of an image."""
    return tr(_DESCRIPTIONS[status])


def sentence(row: Filing, error: Exception) -> str:
    """Say in a sentence why an image cannot reach its destination, and name the folder that denies access."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.errno in _OF_FOLDERS and (folder := _barred(row)) is not None:
        return tr(
            "'{source}' cannot be filed now: {reason}: '{folder}'.", source=row.source, reason=reason, folder=folder
        )
    return tr("'{source}' cannot be filed now: {reason}.", source=row.source, reason=reason)


def _barred(row: Filing) -> Path | None:
    """Find the folder that an image may not leave or enter; the destination where neither is to blame."""
    for folder in (row.source.parent if row.action == "move" else None, row.folder):
        if folder is None:
            continue
        existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
            return existing
    return row.folder
