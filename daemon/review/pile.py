"""The pile: unsure and unknown images that nobody has decided yet.

They lie in the folder of the others; those that get tags in place of folders lie where they came in.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from daemon.files.roots import Roots
from daemon.review.images import Images
from daemon.review.place import ReviewedOutput

#: Reading the pile again takes at most this share of the time.
SHARE_OF_TIME = 0.05


@dataclass(frozen=True)
class Pile:
    """The images of a pile, newest first; ``contents`` maps the ids of their filings to their sha256.

    ``edition`` counts up with every change.
    """

    edition: int = 0
    contents: dict[int, str | None] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        """List the ids, newest first."""
        return [*self.contents]


class PileReader:
    """Reads the pile when the journal has changed. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, images: Images) -> None:
        self._place = place
        self._images = images
        self._lock = threading.Lock()
        self._pile = Pile()
        self._folders = [str(place.others)]
        self._state: object = None
        self._next = 0.0

    def current(self) -> Pile:
        """Return the pile. Raises `Refusal`."""
        with self._lock:
            state = self._seen()
            started = time.monotonic()
            if state != self._state and started >= self._next:
                self._read()
                self._state = state
                self._next = time.monotonic() + (time.monotonic() - started) / SHARE_OF_TIME
            return self._pile

    def leave_out(self, numbers: Collection[int]) -> None:
        """Take images out that were decided, before the journal is read again."""
        with self._lock:
            left = {number: sha256 for number, sha256 in self._pile.contents.items() if number not in numbers}
            if len(left) < len(self._pile.contents):
                self._pile = Pile(self._pile.edition + 1, left)

    def _seen(self) -> object:
        """Return what changes when an image may have come or gone."""
        folders = [_state_of(folder, self._place.roots) for folder in self._folders]
        return self._images.read(lambda reader: reader.state()), folders

    def _read(self) -> None:
        others = str(self._place.others)
        names = {others: _names_in(others, self._place.roots)}
        contents: dict[int, str | None] = {}
        for row in self._images.read(lambda reader: reader.undecided(self._place.others)):
            folder = others if row.folder is None else os.fsdecode(row.folder)
            if folder not in names:
                names[folder] = _names_in(folder, self._place.roots)
            if (name := os.fsencode(row.name)) in names[folder]:
                names[folder].discard(name)  # an older filing of this name was moved on
                contents[row.id] = row.sha256
        self._folders = [*names]
        if contents != self._pile.contents:
            self._pile = Pile(self._pile.edition + 1, contents)


def _names_in(folder: str, roots: Roots) -> set[bytes]:
    """List the names of the files in a folder, without a system call for each."""
    try:
        descriptor = roots.open_folder(folder)
    except OSError:
        return set()
    try:
        return set(map(os.fsencode, os.listdir(descriptor)))  # noqa: PTH208 - it is an open folder
    except OSError:
        return set()
    finally:
        os.close(descriptor)


def _state_of(folder: str, roots: Roots) -> tuple[int, int] | None:
    """Return what changes when a file of a folder comes or goes."""
    try:
        status = roots.status(folder)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
