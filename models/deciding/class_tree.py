"""Classes as folders in folders: which folders hold several classes, and how probable these are.

A class is a path of names, such as ``animals/dog``. The folders on its way are *inner folders*. Those below which
classes part are *groups*: an image that is surely of one of their classes, and not surely of which, is filed there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from models.deciding.class_names import folded, inner_folders_of
from models.deciding.rule import GroupProbability

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]


class GroupScores(NamedTuple):
    """The most probable group of one ``depth`` for each of n images.

    ``best`` (n,) are positions in ``folders``, and ``probability`` (n,) the sums of those of their classes.
    """

    depth: int
    folders: tuple[str, ...]
    best: npt.NDArray[np.intp]
    probability: Floats

    def of(self, row: int) -> GroupProbability:
        """Return the group of one image."""
        return GroupProbability(self.folders[self.best[row]], float(self.probability[row]), self.depth)


class ClassTree:
    """The classes of a model, by their paths."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)

    @cached_property
    def inner_folders(self) -> frozenset[str]:
        """The folders that hold folders of classes."""
        return frozenset(folder for name in self.classes for folder in inner_folders_of(name))

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        return {folded(name): name for name in (*self.inner_folders, *self.classes)}

    def as_spelled(self, folder: str) -> str:
        """Return a path of folders with the beginning that is a class, or lies above one, spelled as in the classes.

        No two classes differ in upper and lower case alone, and on many drives ``Dog`` and ``dog`` are one folder.
        """
        end = len(folder)
        while end > 0:
            if (name := self._by_folded.get(folded(folder[:end]))) is not None:
                return name + folder[end:]
            end = folder.rfind("/", 0, end)
        return folder

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The inner folders in which classes part, sorted.

        One whose classes all lie in one folder below it, or that holds every class, tells nothing of its own.
        """
        below: dict[str, set[str]] = defaultdict(set)
        count: dict[str, int] = defaultdict(int)
        for name in self.classes:
            for folder in inner_folders_of(name):
                below[folder].add(name[len(folder) + 1 :].partition("/")[0])
                count[folder] += 1
        return tuple(sorted(folder for folder in below if len(below[folder]) > 1 and count[folder] < len(self.classes)))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """The depths at which there are groups, the deepest first; 1 is that of a folder at the top."""
        return tuple(sorted({depth_of(folder) for folder in self.groups}, reverse=True))

    @cached_property
    def _groups_by_depth(self) -> list[tuple[int, tuple[str, ...], npt.NDArray[np.int64]]]:
        """The groups of each depth, and the group (classes,) of each class there; -1: none."""
        import numpy as np

        found = []
        for depth in self.depths:
            folders = tuple(folder for folder in self.groups if depth_of(folder) == depth)
            position = {folder: number for number, folder in enumerate(folders)}
            group = [position.get("/".join(name.split("/")[:depth]), -1) for name in self.classes]
            found.append((depth, folders, np.array(group, np.int64)))
        return found

    def score(self, probabilities: Floats) -> list[GroupScores]:
        """Return the most probable group of each depth, the deepest first, by the probabilities (n, classes)."""
        import numpy as np

        scores = []
        for depth, folders, group in self._groups_by_depth:
            sums = np.zeros((len(folders), len(probabilities)), probabilities.dtype)
            is_below = group >= 0
            np.add.at(sums, group[is_below], probabilities.T[is_below])
            scores.append(GroupScores(depth, folders, sums.argmax(axis=0), np.minimum(sums.max(axis=0), 1)))
        return scores

    def group_at(self, depth: int) -> npt.NDArray[np.int64]:
        """Return the group (classes,) that each class lies in at a depth, as a position in its groups; -1: none."""
        return next(group for each, _, group in self._groups_by_depth if each == depth)

    def class_at(self, steps: Sequence[str]) -> str:
        """Return the class of what lies in a folder, by the names on the way to it from the output (at least one).

        Below a class everything belongs to it. Below an inner folder every folder is a class, a new one too; what lies
        directly in an inner folder has that folder for its label (see `is_coarse`). Upper and lower case are the same.
        """
        for depth in range(1, len(steps) + 1):
            path = "/".join(steps[:depth])
            if not self.is_coarse(path):
                return path
        return "/".join(steps)

    def is_coarse(self, label: str) -> bool:
        """Whether a label is that of an inner folder, which tells no class."""
        return folded(label) in self._folded_inner_folders

    @cached_property
    def _folded_inner_folders(self) -> frozenset[str]:
        return frozenset(map(folded, self.inner_folders))


def depth_of(folder: str) -> int:
    """Return how deep a folder lies: 1 at the top."""
    return folder.count("/") + 1
