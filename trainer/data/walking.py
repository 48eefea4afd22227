"""Find the image files below a folder, and what lies beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.files.image_names import is_image_name
from models.files.leftovers import Leftovers, is_bin, is_leftover, is_leftover_image, pictures_in
from models.text.language import tr


@dataclass(frozen=True)
class File:
    """An image file that has not been opened. ``name`` is its path inside the data set."""

    path: Path
    name: str
    label: str


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds. Raises `UserError` where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(
            tr("the folder {folder} cannot be read: {reason}", folder=folder, reason=error.strerror)
        ) from error


def walk(top: Path, leftovers: Leftovers, *, may_change: bool = False) -> Iterator[Path]:
    """Yield every regular file with an image's name below ``top``, and every hidden entry without opening it.

    Links are followed; no folder is walked twice. Where folders ``may_change`` meanwhile, one that is gone or cannot be
    read is passed over. Raises `UserError` otherwise.
    """
    seen: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            status = folder.stat()
            entries = [] if (status.st_dev, status.st_ino) in seen else entries_of(folder)
        except (OSError, UserError):
            if may_change:
                continue
            raise
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                yield Path(entry.path)
            elif is_leftover(entry.name):
                leftovers.count_folder(pictures_in(entry.path) if is_folder(entry) else 0, entry.name)
            elif is_folder(entry):
                if is_bin(entry.name):
                    leftovers.count_folder(pictures_in(entry.path), entry.name)
                else:
                    pending.append(Path(entry.path))
            elif is_image_name(entry.name) and is_leftover_image(entry.name):
                leftovers.count_image(entry.name)
            elif is_image_name(entry.name) and _is_file(entry):
                yield Path(entry.path)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether the entry is a folder; False where that cannot be read, as with links in a circle."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a file; True where that cannot be read, so that opening it tells what is wrong."""
    try:
        return entry.is_file()
    except OSError:
        return True
