"""Corrections: filed images that a person has since moved to another class folder. They are right, and stay there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.identity import is_as_filed, is_filed_image
from daemon.journal.records import Filing
from models.files.leftovers import is_leftover

if TYPE_CHECKING:
    import numpy as np

#: No more files and seconds than this are read; what was not found by then may lie anywhere.
_MOST_FILES, _SECONDS = 2_000_000, 20.0
#: Names that are read at a step.
NAMES_A_STEP = 5_000


class Corrections:
    """Finds filed images elsewhere in the outputs. The folders are read once: by `read`, or when an image is missing.

    The inode number says which files to ask `identity` about; 12 bytes are kept of each file, that and its folder's
    number.
    """

    def __init__(
        self,
        output: Path,
        *,
        other_outputs: Sequence[Path] = (),
        most: int = _MOST_FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``other_outputs``: the outputs of classes that have their own."""
        self._most, self._clock = most, clock
        self._outputs = [str(output), *map(str, other_outputs)]
        self._roots = Roots([output, *other_outputs])
        self._folders: list[str] = []
        self._inodes: np.ndarray | None = None  # sorted
        self._folder_numbers: np.ndarray | None = None  # in the same order
        self._names: tuple[int, dict[int, str]] = (-1, {})  # of the folder that was read last
        #: Whether all folders could be read to their ends; false says that what was not found may be there.
        self.complete = True

    def find(self, filing: Filing) -> Path | None:
        """Find an unchanged image that is no longer where it was filed; None when it is in no class folder."""
        return self._find(filing, is_as_filed)

    def find_edited(self, filing: Filing) -> Path | None:
        """Find it also where somebody has edited it since."""
        return self._find(filing, is_filed_image)

    def inodes_in(self, is_wanted: Callable[[Path], bool]) -> list[int]:
        """List the inodes of all files in the folders that are wanted."""
        inodes, folder_numbers = self._known()
        inside = [number for number, folder in enumerate(self._folders) if is_wanted(Path(folder))]
        import numpy as np

        return [int(inode) for inode in inodes[np.isin(folder_numbers, inside)]]

    def _find(self, filing: Filing, is_it: Callable[[FileAt, Filing], bool]) -> Path | None:
        for path in self._paths(filing):
            if path != filing.destination and self._is_same(path, filing, is_it):
                return path
        return None

    def _is_same(self, path: Path, filing: Filing, is_it: Callable[[FileAt, Filing], bool]) -> bool:
        try:
            with OpenFolders(self._roots) as folders:
                return is_it(folders.entry(path), filing)
        except OSError:
            return False

    def _paths(self, filing: Filing) -> Iterator[Path]:
        """Yield the files with the inode number of an image; on several file systems there may be more than one."""
        inodes, folder_numbers = self._known()
        first, last = (int(inodes.searchsorted(filing.filed_ino, side)) for side in ("left", "right"))
        for number in {int(number) for number in folder_numbers[first:last]}:
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
        """Return the inodes below the class folders, sorted, and the number of the folder of each."""
        for _ in self.read():
            pass
        assert self._inodes is not None
        assert self._folder_numbers is not None
        return self._inodes, self._folder_numbers

    def read(self) -> Iterator[None]:
        """Read the folders, if that is not done yet, some of them at each step: what takes time is done by then."""
        if self._inodes is not None:
            return
        from array import array

        import numpy as np

        inodes, folder_numbers = array("Q"), array("I")
        count, left, began = 0, _SECONDS, self._clock()
        pending = self._outputs[::-1]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if count % NAMES_A_STEP == 0:
                            left -= self._clock() - began
                            yield
                            began = self._clock()
                        count += 1
                        if len(inodes) >= self._most or left < 0:
                            self.complete = False
                            pending.clear()
                            break
                        if entry.is_dir(follow_symlinks=False):
                            pending += [] if is_leftover(entry.name) else [entry.path]  # thrown away, not corrected
                        elif entry.is_file(follow_symlinks=False) and folder not in self._outputs:
                            inodes.append(entry.inode())
                            folder_numbers.append(len(self._folders))
            except OSError:
                self.complete = False
            self._folders.append(folder)
        order = np.argsort(np.asarray(inodes), kind="stable")
        self._inodes, self._folder_numbers = np.asarray(inodes)[order], np.asarray(folder_numbers)[order]
