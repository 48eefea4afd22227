"""Tell by its name whether a file may be an image to file, or one that its writer has not finished."""

from __future__ import annotations

from models.images import is_image_name
from models.leftovers import is_leftover_image

_UNFINISHED_STARTS = (".", "~$")  # dotfiles, LibreOffice's .~lock, rsync's .name.XXXXXX, Office's owner files
_UNFINISHED_ENDS = (".part", ".partial", ".crdownload", ".download", ".tmp", ".filepart", ".!ut")


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name is something its writer has not finished."""
    return name.startswith(_UNFINISHED_STARTS) or name.lower().endswith(_UNFINISHED_ENDS)


def is_candidate(name: str) -> bool:
    """Whether a file of this name (no folder) may be an image to file."""
    return is_image_name(name) and not is_unfinished(name) and not is_leftover_image(name)
