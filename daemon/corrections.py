"""Corrections: filed images that a person has since moved to another class folder. They are right, and stay there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from daemon.copying import sha256_of
from daemon.moves import FOLDER_FLAGS, Entry
from daemon.rows import Filing


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
        return path if path is not None and path != filing.destination and _is_same(path, filing) else None


def _class_folders(output: Path) -> list[Path]:
    try:
        return sorted(path for path in output.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _files(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for place, _, _ in os.walk(folder):
        with os.scandir(place) as entries:
            found += [(entry.inode(), Path(entry.path)) for entry in entries if entry.is_file(follow_symlinks=False)]
    return found


def _is_same(path: Path, filing: Filing) -> bool:
    """Inode numbers are used again: the time and size, or the content, must be the same too."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return False
        if (status.st_size, status.st_mtime_ns) == (filing.identity.size, filing.identity.mtime_ns):
            return True
        folder = os.open(path.parent, FOLDER_FLAGS)
        try:
            return filing.sha256 is not None and sha256_of(Entry(folder, path.name)) == filing.sha256
        finally:
            os.close(folder)
    except OSError:
        return False
