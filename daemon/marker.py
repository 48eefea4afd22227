"""The marker file that tells a class folder from a folder somebody dropped into the inbox."""

from __future__ import annotations

import os
from pathlib import Path

from models.markers import MARKER

__all__ = ["MARKER", "is_marked", "marked_folder"]


def is_marked(folder: str) -> bool:
    """Whether a folder is one that this program files into, as far as that can be seen."""
    return os.path.lexists(f"{folder}/{MARKER}")


def marked_folder(path: Path) -> Path | None:
    """The nearest folder, ``path`` itself or one above it, that is a class folder; None where there is none."""
    return next((folder for folder in (path, *path.parents) if is_marked(str(folder))), None)
