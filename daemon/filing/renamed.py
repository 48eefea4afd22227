"""Filed images that somebody has given another name in the folder they were filed to.

Other folders are not searched: a person who moves an image to one has decided what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from daemon.files.candidates import is_candidate
from daemon.journal.records import Filing

#: Names that are read at a time.
_MANY = 1_000


def name_of(folder: int | Path, inode: int) -> str | None:
    """Find the name of an image with this inode in a folder; None where there is none. Raises OSError."""
    with os.scandir(folder) as entries:
        return next((entry.name for entry in entries if entry.inode() == inode and is_candidate(entry.name)), None)


class Renamed:
    """Finds new names of images by their inodes. A folder is read again only after it has changed."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}  # by the numbers of rows
        self._read: dict[Path, tuple[int, frozenset[int]]] = {}  # when each folder had changed, and what was missing

    def now(self, filing: Filing) -> Filing:
        """Return the filing as if the image had come with, and been filed by, its present name."""
        name = None if filing.id is None else self._names.get(filing.id)
        return filing if name is None else replace(filing, filed_name=name, source=filing.source.with_name(name))

    def find(self, missing: Iterable[Filing]) -> Iterator[None]:
        """Look for images that are not where they were filed, a little a step; `now` knows afterwards."""
        folders: dict[Path, dict[int, int]] = {}
        for filing in missing:
            if filing.folder is not None and filing.id is not None:
                folders.setdefault(filing.folder, {})[filing.filed_ino] = filing.id
        self._read = {folder: state for folder, state in self._read.items() if folder in folders}
        for folder, inodes in folders.items():
            try:
                yield from self._look_into(folder, inodes)
            except OSError:
                continue  # it is gone, too

    def _look_into(self, folder: Path, inodes: dict[int, int]) -> Iterator[None]:
        state = folder.stat().st_mtime_ns, frozenset(inodes)
        if self._read.get(folder) == state:
            return
        with os.scandir(folder) as entries:
            for met, entry in enumerate(entries, 1):
                number = inodes.get(entry.inode())
                if number is not None and is_candidate(entry.name):
                    self._names[number] = entry.name
                if met % _MANY == 0:
                    yield
        self._read[folder] = state
