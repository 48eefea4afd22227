"""Which class each image of a nested data set is of: that of the folder it lies in, with the folders above it.

An image that lies directly in a folder of folders of classes is only known to be of one of these. The daemon files
images there that it is sure of no class for, so a fit on its output must not take that folder for a class.

The daemon marks the folders of its classes. What people arranged below such a folder belongs to its class; elsewhere
every folder with images, and without folders of images in it, is a class.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from models.deciding.class_names import inner_folders_of
from models.deciding.class_tree import ClassTree
from models.files.markers import NOT_CLASSES, read_kind


class Labelling(Protocol):
    """A way to tell the class of an image by the folder it lies in."""

    def label(self, folder: str, /) -> str | None:
        """Return the class of an image in ``folder``, a path in NFC below the data set; None where it has none."""

    def is_coarse(self, folder: str, /) -> bool:
        """Whether what lies directly in ``folder`` is only known to be of one of several classes."""


def path_below(root: Path, folder: Path) -> str:
    """Return the path of a folder below the data set, in NFC."""
    return unicodedata.normalize("NFC", folder.relative_to(root).as_posix())


class AtTop:
    """The class is the folder at the top, however deep an image lies in it."""

    def label(self, folder: str, /) -> str | None:
        """Return the class of an image in ``folder``."""
        return folder.partition("/")[0]

    def is_coarse(self, _: str, /) -> bool:
        """Whether what lies directly in a folder is only known to be of one of several classes: it never is."""
        return False


class AsModel:
    """The classes are those of a model, and folders beside them, which it does not know."""

    def __init__(self, tree: ClassTree) -> None:
        self._tree = tree

    def label(self, folder: str, /) -> str | None:
        """Return the class of an image in ``folder``."""
        return None if self.is_coarse(folder) else self._tree.class_at(folder.split("/"))

    def is_coarse(self, folder: str, /) -> bool:
        """Whether what lies directly in ``folder`` is only known to be of one of several classes."""
        return self._tree.is_coarse(self._tree.class_at(folder.split("/")))


class AsNested:
    """The class of an image is the folder that it lies in, by which folders there are."""

    def __init__(self, root: Path, folders: Iterable[Path], marked: Iterable[Path]) -> None:
        """``folders`` are those in which images lie directly, and ``marked`` those that the daemon marked."""
        kinds = {path_below(root, folder): read_kind(folder) for folder in marked}
        self._classes = {folder for folder, kind in kinds.items() if kind == "class"}
        self._of_no_class = {folder for folder, kind in kinds.items() if kind in NOT_CLASSES}
        above_marked = {above for folder in self._classes for above in inner_folders_of(folder)}
        self._whole = self._classes - above_marked
        held = {path_below(root, folder) for folder in folders}
        self._inner = above_marked | {
            above for folder in held for above in inner_folders_of(self.label(folder) or "") if above
        }

    def label(self, folder: str, /) -> str | None:
        """Return the class of an image in ``folder``; None below a folder of the daemon for images of no class."""
        for path in (*inner_folders_of(folder), folder):
            if path in self._of_no_class:
                return None
            if path in self._whole:
                return path
        return folder

    def is_coarse(self, folder: str, /) -> bool:
        """Whether what lies directly in ``folder`` is only known to be of one of several classes."""
        return folder in self._inner and self.label(folder) == folder
