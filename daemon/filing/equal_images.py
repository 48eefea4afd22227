"""Find the copy that an earlier run has made of an image, so that it is not made again."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from daemon.files.names import numbered
from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.batch import Destination
from daemon.filing.identity import has_content
from daemon.journal.records import Filing


class EqualImages:
    """Images that lay in class folders before this run has filed any. ``own``: what it has filed itself."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._folders: dict[Path, dict[str, list[Path]]] = {}  # by class folder: where a name is
        self.own: set[Path | None] = set()

    def find_in(self, folder: Destination, row: Filing) -> Path | None:
        """Find the image in a folder, by its name or a numbered one. Raises OSError."""
        if folder.descriptor is None:
            return None
        return self._among(FileAt(folder.descriptor, row.source.name), folder.path, folder.longest_name, row)

    def find_inside(self, class_folder: Path, row: Filing, longest_name: int) -> Path | None:
        """Find it in any folder inside a class folder, all of which are listed once. Raises OSError."""
        if class_folder not in self._folders:
            self._folders[class_folder] = _listed(class_folder)
        for folder in self._folders[class_folder].get(row.source.name, ()):
            with OpenFolders(self._roots) as folders:
                found = self._among(folders.entry(folder / row.source.name), folder, longest_name, row)
            if found is not None:
                return found
        return None

    def _among(self, image: FileAt, folder: Path, longest_name: int, row: Filing) -> Path | None:
        for number in count(1):
            existing = image._replace(name=numbered(image.name, number, longest_name))
            if not existing.exists():
                return None
            if folder / existing.name not in self.own and has_content(existing, row):
                return folder / existing.name
        raise AssertionError("there are more numbers than names")


def _listed(class_folder: Path) -> dict[str, list[Path]]:
    listed: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(class_folder):
        for name in names:
            listed.setdefault(name, []).append(Path(folder))
    return listed
