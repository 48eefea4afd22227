"""Say what each folder of an output stands for: a class, images of no class, or nothing that makes a label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from unicodedata import normalize

from daemon.files.candidates import is_temporary_name
from daemon.files.marker import MARKER
from daemon.filing.class_paths import class_folder_of
from models.deciding.class_names import check_class_path, folded
from models.deciding.class_tree import ClassTree
from models.errors import CheckpointError
from models.files.leftovers import is_bin, is_leftover
from models.files.markers import read_kind


class ClassFolders:
    """Tells the folders of one output apart by the classes of the model in use, by their markers, and by their names.

    Folders are given by their paths below the output. Folders in the folder of a class belong to that class, too; an
    inner folder, see `daemon.filing.class_paths`, holds folders of classes, and counts as the folder of a class itself.
    """

    def __init__(
        self, output: Path, others: str, quarantine: str, stands_for: Callable[[str], str | None] = lambda _: None
    ) -> None:
        """``stands_for``: returns the class of a folder that has been renamed since; None for any other folder."""
        self._stands_for = stands_for
        self._output = output
        self._others, self._quarantine = others, quarantine
        self._tree = ClassTree(())
        self._classes: frozenset[str] = frozenset()
        self._inner: frozenset[str] = frozenset()

    def use(self, classes: Iterable[str]) -> None:
        """Go by the classes of a model. Safe in another thread."""
        self._tree = tree = ClassTree(list(classes))
        self._classes, self._inner = frozenset(tree.classes), tree.inner_folders

    def is_looked_at(self, folder: str) -> bool:
        """Whether a class folder is looked at, since what people put into it is a label.

        The quarantine, duplicates, bins, hidden folders and those with a name that no class may have are not.
        """
        name = folder.rpartition("/")[2]
        if is_temporary_name(name) or is_leftover(name) or not _may_be_class(folder):
            return False
        kind = read_kind(self._output / folder)
        if is_bin(name) and kind is None:
            return False
        return kind not in ("quarantine", "duplicate") and (bool(kind) or folded(folder) != folded(self._quarantine))

    def is_entered(self, folder: str) -> bool:
        """Whether a folder inside a class folder is looked at: as a part of it, or as the folder of a class."""
        if self.is_class_folder(folder):
            return self.is_looked_at(folder)
        name = folder.rpartition("/")[2]
        return not (is_temporary_name(name) or is_leftover(name) or is_bin(name))

    def is_class_folder(self, folder: str) -> bool:
        """Whether a folder is that of a class, or an inner one, and does not lie in the folder of a class."""
        return "/" not in folder or self.folder_of(folder) == folder

    def is_inner(self, folder: str) -> bool:
        """Whether a folder holds folders of classes."""
        return self._meant(folder) in self._inner

    def is_class(self, name: str) -> bool:
        """Whether the model in use has such a class, or such an inner folder."""
        return name in self._classes or name in self._inner

    def folder_of(self, folder: str) -> str:
        """Return the class folder that a folder lies in, or the folder itself if it is one."""
        return class_folder_of(folder, self.is_inner)

    def label_of(self, folder: str) -> str | None:
        """Return the class of what lies in a folder, in NFC as all classes are; None in the folder of the others."""
        top = folder.partition("/")[0]
        kind = read_kind(self._output / top)
        is_others = kind == "others" or (not kind and folded(top) == folded(self._others))
        return None if is_others else self.class_of(folder)

    def class_of(self, folder: str) -> str:
        """Return the class of the class folder that a folder is or lies in, also if that was renamed."""
        return self._meant(self.folder_of(folder))

    def class_named(self, folder: str) -> str:
        """Return the class of a folder by its name alone, as in another output."""
        return class_folder_of(self._tree.as_spelled(normalize("NFC", folder)), self._inner.__contains__)

    def marked(self, folder: str) -> int | None:
        """Return when the marker of a folder was written, by the program that files into it; None without one."""
        try:
            return os.lstat(self._output / folder / MARKER).st_mtime_ns
        except OSError:
            return None

    def _meant(self, folder: str) -> str:
        """Return the path that a folder would have if nobody had renamed it, or a folder that it lies in.

        It is in NFC, and spelled as the classes are.
        """
        end = len(folder)
        while end > 0:
            if (name := self._stands_for(folder[:end])) is not None:
                return name + normalize("NFC", folder[end:])
            end = folder.rfind("/", 0, end)
        return self._tree.as_spelled(normalize("NFC", folder))


def _may_be_class(folder: str) -> bool:
    try:
        check_class_path(folder)
    except CheckpointError:
        return False
    return True
