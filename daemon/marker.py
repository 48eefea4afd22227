"""The marker file that tells a class folder from a folder somebody dropped into the inbox."""

from __future__ import annotations

from pathlib import Path

MARKER = ".imagesortd"


def marked_folder(path: Path) -> Path | None:
    """The nearest folder, ``path`` itself or one above it, that is a class folder; None where there is none."""
    for folder in (path, *path.parents):
        if (folder / MARKER).exists():
            return folder
    return None
