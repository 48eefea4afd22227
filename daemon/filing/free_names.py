"""Choose names for images whose own is taken."""

from __future__ import annotations

import os
from collections.abc import Callable

from daemon.files.names import free_number, numbered
from daemon.files.renaming import FileAt


def free_name(
    folder: int | None, name: str, taken: Callable[[str], bool] = lambda _: False, limit: int | None = None
) -> str:
    """Find a name that seems free in an open folder (None: one that does not exist yet) and is not ``taken`` otherwise.

    ``limit``: the longest name there in bytes, where that is known already.
    """
    if limit is None:
        limit = longest_name(folder)

    first = numbered(name, 1, limit)
    if _is_free(folder, first, taken):
        return first
    return numbered(name, free_number(lambda number: not _is_free(folder, numbered(name, number, limit), taken)), limit)


def _is_free(folder: int | None, name: str, taken: Callable[[str], bool]) -> bool:
    return not (taken(name) or (folder is not None and FileAt(folder, name).seems_taken()))


def longest_name(folder: int | None) -> int:
    """Return how many bytes a name may have in an open folder (None: one that does not exist yet). Raises OSError."""
    return 255 if folder is None else os.fpathconf(folder, "PC_NAME_MAX")
