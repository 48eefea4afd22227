"""Keep something of each folder by its path, so that a folder and all inside are found without a look at the others."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TypeVar

Value = TypeVar("Value")


class FolderTree(MutableMapping[str, Value]):
    """Maps the paths of folders, relative and with slashes, to values, in the order in which they were added.

    A folder may be there without the one that it is in.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._inside: dict[str, dict[str, None]] = {}  # next paths below each, also of those that have no value

    def __getitem__(self, path: str) -> Value:
        return self._values[path]

    def __setitem__(self, path: str, value: Value) -> None:
        is_new = path not in self._values
        self._values[path] = value
        while is_new and path:
            parent = path.rpartition("/")[0]
            siblings = self._inside.setdefault(parent, {})
            is_new = path not in siblings
            siblings[path] = None
            path = parent

    def __delitem__(self, path: str) -> None:
        del self._values[path]
        while path and path not in self._values and path not in self._inside:
            parent = path.rpartition("/")[0]
            siblings = self._inside[parent]
            siblings.pop(path)
            if siblings:
                return
            del self._inside[parent]
            path = parent

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Remove all."""
        self._values.clear()
        self._inside.clear()

    def children(self, folder: str) -> list[str]:
        """List those next below a folder that have a value; ``""`` stands for the folder that all are in."""
        return [path for path in self._inside.get(folder, ()) if path in self._values]

    def inside(self, folder: str) -> list[str]:
        """List a folder, if it has a value, and all that are inside it and have one."""
        pending, found = [folder], []
        while pending:
            path = pending.pop()
            if path in self._values:
                found.append(path)
            pending += self._inside.get(path, ())
        return found
