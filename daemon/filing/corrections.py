"""Corrections: filed images that a person has since moved to another class folder. They are right, and stay there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from daemon.files.renaming import Entry
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.identity import is_as_filed, is_filed_or_edited
from daemon.journal.records import Filing
from models.leftovers import is_leftover

if TYPE_CHECKING:
    import numpy as np

#: Of larger outputs, or slower ones, no more is read: what was not found then may lie anywhere.
_MOST_FILES, _SECONDS = 2_000_000, 20.0


def class_of(path: Path, output: Path) -> str:
    """The class whose folder a path below the output is or lies in, with its letters put together, as all classes."""
    return normalize("NFC", path.relative_to(output).parts[0])


class Corrections:
    """Finds images under the output by their inode; the folders are read once, when the first one is missed.

    No more is kept of a file than 12 bytes: its inode and the number of its folder.
    """

    def __init__(self, output: Path, *, most: int = _MOST_FILES, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self._most, self._clock = output, most, clock
        self._roots = Roots([output])
        self._folders: list[str] = []
        self._inodes: np.ndarray | None = None  # in their order
        self._places: np.ndarray | None = None  # the number of the folder of each
        self._names: tuple[int, dict[int, str]] = (-1, {})  # of the folder that was read last
        #: Whether all folders could be read to their ends; false says that what was not found may be there.
        self.complete = True

    def of(self, filing: Filing) -> Path | None:
        """Where an image lies that was filed and is not there any more; None when it is in no class folder."""
        return self._find(filing, is_as_filed)

    def now(self, filing: Filing) -> Path | None:
        """The same for people to read, who may have edited it since."""
        return self._find(filing, is_filed_or_edited)

    def inodes_in(self, label: str) -> list[int]:
        """The inodes of all files in a class folder and below it, however the letters of its name are put together."""
        inodes, places = self._known()
        inside = [
            number
            for number, folder in enumerate(self._folders)
            if folder != str(self._output) and class_of(Path(folder), self._output) == label
        ]
        import numpy as np

        return [int(inode) for inode in inodes[np.isin(places, inside)]]

    def _find(self, filing: Filing, is_it: Callable[[Entry, Filing], bool]) -> Path | None:
        for path in self._paths(filing):
            if path != filing.destination and self._is_same(path, filing, is_it):
                return path
        return None

    def _is_same(self, path: Path, filing: Filing, is_it: Callable[[Entry, Filing], bool]) -> bool:
        try:
            with OpenFolders(self._roots) as folders:
                return is_it(folders.entry(path), filing)
        except OSError:
            return False

    def _paths(self, filing: Filing) -> Iterator[Path]:
        """The files with the inode of an image: where the output is part of several file systems there may be more."""
        inodes, places = self._known()
        first, last = (int(inodes.searchsorted(filing.filed_ino, side)) for side in ("left", "right"))
        for number in {int(place) for place in places[first:last]}:
            name = self._names_in(number).get(filing.filed_ino)
            if name is not None:
                yield Path(self._folders[number], name)

    def _names_in(self, number: int) -> dict[int, str]:
        if self._names[0] != number:
            names = {}
            try:
                with os.scandir(self._folders[number]) as entries:
                    names = {entry.inode(): entry.name for entry in entries}
            except OSError:
                pass
            self._names = (number, names)
        return self._names[1]

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """What `_read` found, when it was first needed."""
        if self._inodes is None or self._places is None:
            self._inodes, self._places = self._read()
        return self._inodes, self._places

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """The inodes below the class folders in their order, and the number of the folder of each."""
        from array import array

        import numpy as np

        inodes, places = array("Q"), array("I")
        end = self._clock() + _SECONDS
        pending = [str(self._output)]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    for met, entry in enumerate(entries):
                        if len(inodes) >= self._most or (met % 1000 == 0 and self._clock() > end):
                            self.complete = False
                            pending.clear()
                            break
                        if entry.is_dir(follow_symlinks=False):
                            pending += [] if is_leftover(entry.name) else [entry.path]  # thrown away, not corrected
                        elif entry.is_file(follow_symlinks=False) and folder != str(self._output):
                            inodes.append(entry.inode())
                            places.append(len(self._folders))
            except OSError:
                self.complete = False
            self._folders.append(folder)
        order = np.argsort(np.asarray(inodes), kind="stable")
        return np.asarray(inodes)[order], np.asarray(places)[order]
