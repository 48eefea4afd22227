"""Keep a value for each folder by its path, so that those of a folder and of all inside it are found quickly."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TypeVar

Value = TypeVar("Value")


class FolderTree(MutableMapping[str, Value]):
    """Maps the paths of folders, relative and with slashes, to values, in the order in which they were added.

    A folder may have a value although the folder that it is in has none.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._inside: dict[str, dict[str, None]] = {}  # paths directly below each, also of folders without a value

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
        """List the folders directly in a folder that have a value; ``""`` is the folder that all are in."""
        return [path for path in self._inside.get(folder, ()) if path in self._values]

    def inside(self, folder: str) -> list[str]:
        """List the folders that have a value: of a folder and all that are inside it, at any depth."""
        pending, found = [folder], []
        while pending:
            path = pending.pop()
            if path in self._values:
                found.append(path)
            pending += self._inside.get(path, ())
        return found
