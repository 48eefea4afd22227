"""Room on the drives of the outputs, the state and the inboxes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from daemon.alarms.causes import Cause, Trouble

_MEGABYTE = 1 << 20
#: What is nearly full where nobody says otherwise: less than both of these are left.
_FREE_MB, _FREE_SHARE = 1024, 0.05
#: Files that there is room for at least, where a file system counts them.
_FREE_FILES = 1_000
#: An alarm is over when so many times as much is left as where it begins.
_MARGIN = 1.2


def nearly_full(
    folders: Iterable[Path], free_mb: float | None, active: Collection[Trouble]
) -> Iterator[tuple[Trouble, Mapping[str, object]]]:
    """Yield each drive that is nearly full, by the first of the folders on it, with what is left.

    ``free_mb``: when that is, None for the usual. One that is ``active`` goes on under its name, and must have some
    more than that to be over. A folder that is not there tells nothing.
    """
    for folder in first_on_drives(sorted(folders, key=lambda folder: Trouble(Cause.DISK, str(folder)) not in active)):
        trouble = Trouble(Cause.DISK, str(folder))
        margin = _MARGIN if trouble in active else 1.0
        with suppress(OSError):
            room = os.statvfs(folder)
            free = room.f_bavail * room.f_frsize / _MEGABYTE
            whole = room.f_blocks * room.f_frsize / _MEGABYTE
            least = min(_FREE_MB, _FREE_SHARE * whole) if free_mb is None else free_mb
            if free < least * margin:
                yield trouble, {"free_mb": int(free)}
            elif room.f_files and room.f_favail < _FREE_FILES * margin:
                yield trouble, {"free_mb": int(free), "free_files": room.f_favail}


def first_on_drives(folders: Iterable[Path]) -> list[Path]:
    """Return the first of the folders on each drive, of those that are there."""
    by_drive: dict[int, Path] = {}
    for folder in folders:
        with suppress(OSError):
            by_drive.setdefault(folder.stat().st_dev, folder)
    return list(by_drive.values())


def free_mb(folder: str) -> int | None:
    """Return how many MB are left on the drive of a folder; None where that is not known."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize // _MEGABYTE
