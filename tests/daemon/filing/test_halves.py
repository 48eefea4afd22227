"""What was copied or linked of an image before its writer was done gives way to the whole, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.filing.filer import Action, Filer, Status
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import State
from tests.filing_desk import Desk


def grow(path: Path, more: bytes = b" and the rest") -> None:
    with path.open("ab") as file:
        file.write(more)


@pytest.mark.parametrize("action", ["copy", "link"])
@pytest.mark.parametrize("folder", ["cat", "others"])
def test_a_half_gives_way_to_the_whole(desk: Desk, action: Action, folder: str) -> None:
    path = desk.put(content=b"half")
    half = desk.file_one(path, folder, label="cat", action=action)
    grow(path)
    assert desk.file_one(path, action=action).status is Status.FILED
    assert desk.filed() == {"cat/cat.jpg": b"half and the rest"}
    assert path.read_bytes() == b"half and the rest"
    undone = read_history(desk.journal_path, Wanted(states=[State.UNDONE]))
    assert [row.id for row in undone] == [half.row.id]


@pytest.mark.parametrize("action", ["copy", "link"])
def test_so_does_one_that_somebody_has_renamed_where_it_lies(desk: Desk, action: Action) -> None:
    path = desk.put(content=b"half")
    filed = desk.file_one(path, action=action).destination
    assert filed is not None
    filed.rename(filed.with_name("holiday.jpg"))
    grow(path)
    desk.file_one(path, action=action)
    assert desk.filed() == {"cat/holiday.jpg": b"half and the rest"}


def test_gaps_are_filled(desk: Desk) -> None:
    path = desk.put(content=b"half" + bytes(13))
    desk.file_one(path, action="copy")
    desk.put(content=b"half and the rest")
    desk.file_one(path, action="copy")
    assert desk.filed() == {"cat/cat.jpg": b"half and the rest"}


def test_it_grows_more_than_once(desk: Desk) -> None:
    path = desk.put(content=b"1")
    for _ in range(3):
        desk.file_one(path, action="copy")
        grow(path, b"2")
    assert desk.filed() == {"cat/cat.jpg": b"122"}


def test_another_picture_of_the_same_name_replaces_nothing(desk: Desk) -> None:
    path = desk.put(content=b"a picture")
    desk.file_one(path, action="copy")
    path.unlink()
    desk.file_one(desk.put(content=b"another picture"), action="copy")
    assert desk.filed() == {"cat/cat.jpg": b"a picture", "cat/cat_2.jpg": b"another picture"}


def test_a_half_that_was_edited_or_replaced_stays(desk: Desk) -> None:
    path = desk.put(content=b"half")
    filed = desk.file_one(path, action="copy").destination
    assert filed is not None
    filed.write_bytes(b"hal")  # the start of the original is what it holds still, and yet it is somebody's work
    grow(path)
    desk.file_one(path, action="copy")
    assert desk.filed() == {"cat/cat.jpg": b"hal", "cat/cat_2.jpg": b"half and the rest"}
    new = filed.with_name("new.jpg")
    new.write_bytes(b"half and the rest")
    new.replace(filed.with_name("cat_2.jpg"))
    grow(path)
    desk.file_one(path, action="copy")
    assert desk.filed()["cat/cat_2.jpg"] == b"half and the rest"


def test_a_link_whose_original_was_replaced_by_the_whole(desk: Desk) -> None:
    path = desk.put(content=b"half")
    filed = desk.file_one(path, action="link").destination
    assert filed is not None
    path.unlink()
    desk.put(content=b"half and the rest")
    desk.file_one(path, action="link")
    assert desk.filed() == {"cat/cat.jpg": b"half and the rest"}


def test_a_dry_run_removes_nothing(desk: Desk) -> None:
    path = desk.put(content=b"half")
    desk.file_one(path, action="copy")
    grow(path)
    journal = desk.journal()
    Filer(desk.output, action="copy", journal=journal, dry_run=True).file([desk.decide(path)])
    journal.close()
    assert desk.filed() == {"cat/cat.jpg": b"half"}
