"""The folders of an output by their paths: those inside one are found however many others there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.correcting.arrivals import Arrivals
from daemon.correcting.folder_tree import FolderTree
from daemon.correcting.known_files import KnownFiles, KnownFolder

_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
_MANY = 50


@given(st.lists(st.tuples(st.booleans(), _PATHS), max_size=40), _PATHS)
def test_what_is_inside_is_found_whatever_was_added_and_removed(changes: list[tuple[bool, str]], folder: str) -> None:
    tree: FolderTree[int] = FolderTree()
    plain: dict[str, int] = {}
    for number, (is_added, path) in enumerate(changes):
        if is_added:
            tree[path] = plain[path] = number
        else:
            assert tree.pop(path, None) == plain.pop(path, None)
        inside = [path for path in plain if path == folder or path.startswith(f"{folder}/")]
        assert sorted(tree.inside(folder)) == sorted(inside)
        assert sorted(tree.children("")) == sorted(path for path in plain if "/" not in path)
        assert sorted(tree.inside("")) == sorted(plain)
        assert (dict(tree), len(tree), list(tree)) == (plain, len(plain), list(plain))
    tree.clear()
    assert not tree
    assert tree.inside(folder) == tree.children("") == []


@pytest.fixture
def looks() -> Iterator[list[str]]:
    """What is looked at of a `CountedPath`, a name each time."""
    CountedPath.looks.clear()
    yield CountedPath.looks
    CountedPath.looks.clear()


class CountedPath(str):
    """A path that counts how often it is hashed, compared or taken apart."""

    __slots__ = ()
    looks: ClassVar[list[str]] = []

    def __hash__(self) -> int:
        self.looks.append(str(self))
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        self.looks.append(str(self))
        return super().__eq__(other)

    def startswith(self, *prefix: Any) -> bool:
        self.looks.append(str(self))
        return super().startswith(*prefix)

    def partition(self, separator: str, /) -> tuple[str, str, str]:
        self.looks.append(str(self))
        return super().partition(separator)

    def __contains__(self, part: object) -> bool:
        self.looks.append(str(self))
        return super().__contains__(cast(str, part))


def inner_folders(count: int) -> list[CountedPath]:
    return [CountedPath(f"cat/{number}") for number in range(count)]


def test_one_of_many_inner_folders_is_forgotten_without_a_look_at_the_others(tmp_path: Path, looks: list[str]) -> None:
    known = KnownFiles(tmp_path / "seen-files")
    known.folders["cat"] = KnownFolder((0, 1))
    for path in inner_folders(_MANY):
        known.folders[path] = KnownFolder((0, 1))
    looks.clear()
    known.forget("cat/7")
    assert set(looks) == {"cat/7"}
    assert len(known.folders) == _MANY


def test_nor_are_they_looked_at_for_the_class_folders(tmp_path: Path, looks: list[str]) -> None:
    known = KnownFiles(tmp_path / "seen-files")
    for path in inner_folders(_MANY):
        known.folders[path] = KnownFolder((0, 1))
    known.folders["dog"] = KnownFolder((0, 2))
    looks.clear()
    assert list(known.class_folders()) == ["dog"]
    assert not looks


def test_one_of_many_inner_folders_that_leaves_is_watched_no_longer_without_a_look_at_the_others(
    tmp_path: Path, looks: list[str]
) -> None:
    output, elsewhere = tmp_path / "sorted", tmp_path / "elsewhere"
    elsewhere.mkdir()
    arrivals = Arrivals(output, lambda *_: None)
    for path in inner_folders(_MANY):
        (output / path).mkdir(parents=True)
        arrivals.arm(path)
    arrivals.arm("")
    arrivals.arm("cat")
    (output / "cat/7").rename(elsewhere / "7")
    looks.clear()
    arrived = arrivals.take()
    assert arrived.gone == ["cat/7"]
    assert set(looks) == {"cat/7"}
    assert len(arrivals) == _MANY + 1
    arrivals.close()
