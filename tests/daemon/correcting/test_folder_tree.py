"""The folders of an output by their paths: those inside one are found however many others there are."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daemon.correcting.arrivals import Arrivals
from daemon.correcting.folder_tree import FolderTree
from daemon.correcting.known_files import KnownFiles, KnownFolder

_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
_MANY = 5_000
#: Seconds of the processor: ten times what it takes, and half of what it took where each was compared with all.
_ENOUGH = 1.0


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
        assert (dict(tree), len(tree), list(tree)) == (plain, len(plain), list(plain))
    tree.clear()
    assert not tree
    assert tree.inside(folder) == []


def test_thousands_of_inner_folders_are_forgotten_one_by_one(tmp_path: Path) -> None:
    known = KnownFiles(tmp_path / "seen-files")
    known.folders["cat"] = KnownFolder((0, 1))
    for number in range(_MANY):
        known.folders[f"cat/{number}"] = KnownFolder((0, number))
    began = time.thread_time()
    for number in range(_MANY):
        known.forget(f"cat/{number}")
    assert time.thread_time() - began < _ENOUGH
    assert list(known.folders) == ["cat"]


def test_thousands_of_inner_folders_that_leave_at_once_are_watched_no_longer(tmp_path: Path) -> None:
    output, elsewhere = tmp_path / "sorted", tmp_path / "elsewhere"
    elsewhere.mkdir()
    arrivals = Arrivals(output, lambda *_: None)
    for number in range(_MANY):
        (output / "cat" / str(number)).mkdir(parents=True)
    for folder in ("", "cat", *(f"cat/{number}" for number in range(_MANY))):
        arrivals.arm(folder)
    for number in range(_MANY):
        (output / "cat" / str(number)).rename(elsewhere / str(number))
    began = time.thread_time()
    arrived = arrivals.take()
    assert time.thread_time() - began < _ENOUGH
    assert arrived.lost or len(arrived.gone) == _MANY
    assert arrived.lost or len(arrivals) == 2
    arrivals.close()
