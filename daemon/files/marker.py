"""Find the marker file that tells a class folder from a folder that somebody put into the inbox."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from models.files.markers import MARKER

__all__ = ["MARKER", "is_below", "is_marked", "marked_folder"]


def is_marked(folder: str) -> bool:
    """Whether a folder has the marker of one that this program files into."""
    return os.path.lexists(f"{folder}/{MARKER}")


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders, or lies below one; all are compared with their links resolved."""
    real = os.path.realpath(path)
    return any(_is_inside(real, os.path.realpath(folder)) for folder in folders)


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def marked_folder(path: Path) -> Path | None:
    """Find the nearest class folder: ``path`` itself or one above it; None where there is none."""
    return next((folder for folder in (path, *path.parents) if is_marked(str(folder))), None)
