"""Folders of the NAS and of the system: known by name, and counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.leftovers import Leftovers, is_below_leftover, is_leftover, pictures_in


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "@EADIR", "#recycle", "@Recycle", "#snapshot", "$RECYCLE.BIN", "$Recycle.Bin",
     "System Volume Information",
     ".stversions", ".stfolder", "lost+found", "Thumbs.db", "desktop.ini", ".Trash-1000", ".Spotlight-V100", "@tmp",
     ".fseventsd", "__MACOSX", "._x.jpg", "RECYCLER", ".@__thumb", ".thumbnails", "FOUND.000", "@Recently-Snapshot"],
)  # fmt: skip
def test_it_is_left_alone(name: str) -> None:
    assert is_leftover(name)


@pytest.mark.parametrize(
    "name", ["recycle", "recycled", "trash", "thumbs", "tmp", "found", "사진", "eaDir", "snapshot", "a@eaDir"]
)
def test_a_folder_of_people_is_not(name: str) -> None:
    assert not is_leftover(name)


def test_the_root_itself_may_be_one() -> None:
    assert not is_below_leftover("/vol/#recycle/mine/a", "/vol/#recycle/mine")
    assert is_below_leftover("/vol/#recycle/mine/a", "/vol")


def test_pictures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("a.jpg", "x/b.PNG", "x/y/c.heic", "x/y/thumb.db"):
        (tmp_path / name).touch()
    left = Leftovers()
    left.meet(pictures_in(str(tmp_path)))
    left.meet(0)
    assert str(left).endswith("of a NAS or the system (pictures: 3, folders: 1)")
    assert pictures_in(str(tmp_path / "gone")) == 0
