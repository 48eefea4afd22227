"""Tell by its name whether a file may be an image to file, or has a temporary name."""

from __future__ import annotations

from models.files.image_names import is_image_name
from models.files.leftovers import is_leftover_image

_TEMPORARY_STARTS = (".", "~$")  # dotfiles, LibreOffice's .~lock, rsync's .name.XXXXXX, Office's owner files
_TEMPORARY_ENDS = (".part", ".partial", ".crdownload", ".download", ".tmp", ".filepart", ".!ut")


def is_temporary_name(name: str) -> bool:
    """Whether programs give a file or folder such a name only until it is complete."""
    return name.startswith(_TEMPORARY_STARTS) or name.lower().endswith(_TEMPORARY_ENDS)


def is_candidate(name: str) -> bool:
    """Whether a file of this name (no folder) may be an image to file."""
    return is_image_name(name) and not is_temporary_name(name) and not is_leftover_image(name)
