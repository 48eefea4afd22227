"""Corrections: filed images that a person has since moved to another class folder. They are right, and stay there."""

from __future__ import annotations

import os
from pathlib import Path

from daemon.identity import is_filed
from daemon.roots import OpenFolders, Roots
from daemon.rows import Filing
from models.leftovers import is_leftover


class Corrections:
    """Finds images under the output by their inode; the folders are read once, when the first one is missed."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._paths: dict[int, Path] | None = None

    def of(self, filing: Filing) -> Path | None:
        """Where an image lies that was filed and is not there any more; None when it is in no class folder."""
        if self._paths is None:
            self._paths = {inode: path for folder in _class_folders(self._output) for inode, path in _files(folder)}
        path = self._paths.get(filing.filed_ino)
        return (
            path
            if path is not None and path != filing.destination and _is_same(path, filing, Roots([self._output]))
            else None
        )


def _class_folders(output: Path) -> list[Path]:
    try:
        folders = [path for path in output.iterdir() if path.is_dir() and not path.is_symlink()]
        return sorted(path for path in folders if not is_leftover(path.name))
    except OSError:
        return []


def _files(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for place, inside, _ in os.walk(folder):
        inside[:] = [name for name in inside if not is_leftover(name)]  # what is thrown away is not corrected
        with os.scandir(place) as entries:
            found += [(entry.inode(), Path(entry.path)) for entry in entries if entry.is_file(follow_symlinks=False)]
    return found


def _is_same(path: Path, filing: Filing, roots: Roots) -> bool:
    try:
        with OpenFolders(roots) as folders:
            return is_filed(folders.entry(path), filing)
    except OSError:
        return False
