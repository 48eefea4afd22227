"""Say which class a path in the output has: the one rule for everything that looks at where an image lies.

A class is a path of folders, such as ``dog`` or ``animals/dog``. Folders that hold classes of the model are its inner
folders. Each folder directly below an inner one is a class, also one that a person has made; an image in the inner
folder itself is only known to be of one of the classes in it. Below a class everything belongs to it: folders of a
person's own, and those of a layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from daemon.files.outputs import output_of
from models.deciding.class_names import folded
from models.deciding.class_tree import ClassTree


def class_folder_of(folder: str, is_inner: Callable[[str], bool]) -> str:
    """Return the beginning of a path below the output that is the folder of its class, as it is spelled there.

    ``is_inner`` is asked about each beginning of the path whether it is an inner folder.
    """
    end = folder.find("/")
    while end >= 0 and is_inner(folder[:end]):
        end = folder.find("/", end + 1)
    return folder if end < 0 else folder[:end]


def is_in_folder_of(label: str, folder: Path, outputs: Sequence[Path]) -> bool:
    """Whether a folder is that of a class, or lies in it: of an unsure image it is not."""
    output = output_of(folder, outputs)
    if output is None:
        return False
    place = folded(str(folder.relative_to(output)))
    return place == folded(label) or is_inside(place, folded(label))


def is_inside(folder: str, outer: str) -> bool:
    """Whether a folder lies in another; both are paths below one folder."""
    return folder.startswith(f"{outer}/")


class ClassPaths:
    """Classes of a daemon's outputs by where images lie, for a model whose classes are asked for when needed."""

    def __init__(
        self, output: Path, classes: Callable[[], Iterable[str]] = tuple, *, other_outputs: Sequence[Path] = ()
    ) -> None:
        """``classes``: those of the model in use; none of them where no model is known.

        ``other_outputs``: the outputs of classes that have their own.
        """
        self.outputs = [output, *other_outputs]
        self._classes = classes

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Classes of the model."""
        return tuple(self._classes())

    @cached_property
    def _tree(self) -> ClassTree:
        return ClassTree(self.classes)

    @property
    def inner(self) -> frozenset[str]:
        """Inner folders of the model."""
        return self._tree.inner_folders

    def as_spelled(self, folder: str) -> str:
        """Return a path below the output in NFC, as all classes are, and as the model spells its beginning."""
        return self._tree.as_spelled(normalize("NFC", folder))

    def is_inner(self, folder: str) -> bool:
        """Whether a folder, however spelled, is an inner one of the model."""
        return self.as_spelled(folder) in self.inner

    def class_of(self, folder: str) -> str:
        """Name the class of a folder, which is given by its path below the output."""
        return class_folder_of(self.as_spelled(folder), self.inner.__contains__)

    def folder_of(self, folder: str) -> str:
        """Return the beginning of such a path that is the folder of the class, as it is spelled there."""
        return class_folder_of(folder, self.is_inner)

    def of_folder(self, folder: Path) -> str | None:
        """Name the class of a folder; None for one that is not below an output."""
        output = output_of(folder, self.outputs)
        return None if output is None else self.class_of(str(folder.relative_to(output)))

    def of_image(self, path: Path) -> str | None:
        """Name the class of the folder that a file lies in; None where it does not lie in a folder of an output."""
        return self.of_folder(path.parent)
