"""Say what the folders of an output stand for: a class, images of no class, or nothing that people decide by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

from daemon.files.candidates import is_temporary_name
from daemon.files.marker import MARKER
from models.class_names import check_class_name
from models.errors import CheckpointError
from models.leftovers import is_bin, is_leftover
from models.markers import read_kind


class ClassFolders:
    """Tells the folders of one output apart, by their markers and else by their names."""

    def __init__(
        self, output: Path, others: str, quarantine: str, stands_for: Callable[[str], str | None] = lambda _: None
    ) -> None:
        """``stands_for``: returns the class that a folder stands for that has another name by now."""
        self._stands_for = stands_for
        self._output = output
        self._others, self._quarantine = others, quarantine

    def is_looked_at(self, name: str) -> bool:
        """Whether what people put into a folder says anything: not in the quarantine, in bins and hidden folders.

        Nor in one whose name no class may have.
        """
        if is_temporary_name(name) or is_leftover(name) or not _may_be_class(name):
            return False
        kind = read_kind(self._output / name)
        if is_bin(name) and kind is None:
            return False
        return kind != "quarantine" and (bool(kind) or name != self._quarantine)

    def label_of(self, name: str) -> str | None:
        """Return the class that a folder is of, in NFC as all classes are; None for the one of no class."""
        kind = read_kind(self._output / name)
        is_others = kind == "others" or (not kind and name == self._others)
        return None if is_others else self.class_of(name)

    def class_of(self, name: str) -> str:
        """Return the class that a folder has, or had, the name of."""
        return self._stands_for(name) or normalize("NFC", name)

    def marked(self, name: str) -> int | None:
        """Return when the marker of a folder was written, which says that programs file into it; None without one."""
        try:
            return os.lstat(self._output / name / MARKER).st_mtime_ns
        except OSError:
            return None


def _may_be_class(name: str) -> bool:
    try:
        check_class_name(name)
    except CheckpointError:
        return False
    return True


def is_entered(name: str) -> bool:
    """Whether a folder inside a class folder is a part of it."""
    return not (is_temporary_name(name) or is_leftover(name) or is_bin(name))
