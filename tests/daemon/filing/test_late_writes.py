"""Files that their writer goes on with after they were filed are filed anew; what a person edits is left alone."""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from daemon.filing.late_writes import LATEST, QUIET, LateWrites
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import State
from tests.filing_desk import Desk, far_folder, make_desk

Change = Callable[[Path], None]


def later(path: Path) -> None:
    """Let a file's time be another one, whatever the clock's resolution is."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def look(desk: Desk, *changes: Change, path: Path) -> None:
    """Look a few times as a daemon does, each time after another change, with a long rest in between."""
    now = [0.0]
    journal = desk.journal()
    again = LateWrites([desk.inbox], desk.output, journal, clock=lambda: now[0])
    for change in (*changes, None, None):
        if change is not None:
            change(path)
        assert not again.work(60)
        now[0] += 100 * QUIET
    journal.close()


def grow(path: Path, more: bytes = b" and the rest") -> None:
    with path.open("ab") as file:
        file.write(more)
    later(path)


def fill(path: Path) -> None:
    """Write the second half of a file that had its whole size before."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"x" * (path.stat().st_size - file.tell()))
    later(path)


def pages(count: int) -> bytes:
    buffer = io.BytesIO()
    first, *more = (Image.new("L", (32, 32), 40 * number) for number in range(count))
    first.save(buffer, "TIFF", save_all=True, append_images=more)
    return buffer.getvalue()


def add_page(path: Path) -> None:
    with AppendingTiffWriter(str(path)) as file:
        Image.new("L", (32, 32), 200).save(file, "TIFF")
    later(path)


@pytest.mark.parametrize(("folder", "reason"), [("cat", None), ("others", None), ("quarantine/truncated", "truncated")])
@pytest.mark.parametrize("change", [grow, fill])
def test_a_file_that_its_writer_goes_on_with_is_filed_anew(
    desk: Desk, folder: str, reason: str | None, change: Change, logged: list[str]
) -> None:
    image = desk.put(content=b"half an image" + bytes(13))
    filed = desk.file_one(image, folder, reason=reason, label="cat")
    assert filed.destination is not None
    look(desk, change, path=filed.destination)
    assert [*desk.contents()] == [image.read_bytes()]
    assert not filed.destination.exists()
    assert [line for line in logged if f"its writer went on; it is back at {image}" in line]
    again = desk.file_one(image)
    assert again.destination == desk.output / "cat" / "cat.jpg"
    undone = read_history(desk.journal_path, Wanted(states=[State.UNDONE]))
    assert [row.id for row in undone] == [filed.row.id]


@pytest.mark.parametrize(("folder", "reason"), [("cat", None), ("others", None), ("quarantine/truncated", "truncated")])
@pytest.mark.parametrize("first", ["renamed", "grown"])
def test_so_is_one_that_a_person_has_renamed_where_it_lies(
    desk: Desk, folder: str, reason: str | None, first: str
) -> None:
    filed = desk.file_one(desk.put(), folder, reason=reason, label="cat").destination
    assert filed is not None
    holiday = filed.with_name("holiday.jpg")

    def rename(path: Path) -> None:
        path.rename(holiday)

    changes = [rename, lambda _: grow(holiday)] if first == "renamed" else [grow, rename]
    look(desk, *changes, path=filed)
    assert [path.name for path in desk.inbox.iterdir()] == ["holiday.jpg"]
    assert (desk.inbox / "holiday.jpg").read_bytes() == b"an image and the rest"
    assert not holiday.exists()


def test_its_old_name_may_be_another_picture_s_by_then(desk: Desk) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    holiday = filed.rename(filed.with_name("holiday.jpg"))
    assert desk.file_one(desk.put(content=b"the next one")).destination == filed
    grow(holiday)
    look(desk, *4 * [lambda _: None], path=filed)
    assert (desk.inbox / "holiday.jpg").read_bytes() == b"an image and the rest"
    assert filed.read_bytes() == b"the next one"


@pytest.mark.parametrize("name", ["../dog/cat.jpg", "cat.jpg.bak", "deep/cat.jpg"])
def test_what_a_person_has_moved_elsewhere_is_that_person_s(desk: Desk, name: str) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    for place in ("dog", "cat/deep"):
        (desk.output / place).mkdir(exist_ok=True)
    moved = filed.rename(filed.parent / name)
    look(desk, lambda _: grow(moved), path=filed)
    assert moved.exists()
    assert not [*desk.inbox.iterdir()]


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_that_is_added_to_a_tiff(desk: Desk, count: int) -> None:
    image = desk.put("scan.tif", pages(count))
    filed = desk.file_one(image)
    assert filed.destination is not None
    look(desk, add_page, path=filed.destination)
    assert image.exists()
    assert not filed.destination.exists()


def test_a_file_that_still_grows_or_is_open_is_not_taken_away(desk: Desk) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    with filed.open("ab") as file:
        look(desk, grow, path=filed)
        assert filed.exists()
        file.write(b"!")
    now = [0.0]
    again = LateWrites([desk.inbox], desk.output, desk.journal(), clock=lambda: now[0])
    for _ in range(8):
        grow(filed, b".")
        again.work(60)
        now[0] += 10 * QUIET
        assert filed.exists()


def rotate(path: Path) -> None:
    path.write_bytes(b"the image, turned, and longer than it was")
    later(path)


def shorten(path: Path) -> None:
    path.write_bytes(b"an")
    later(path)


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"AN IMAGE")
    new.replace(path)


@pytest.mark.parametrize("edit", [rotate, shorten, replace, later, lambda path: path.unlink()])
def test_what_a_person_does_to_a_filed_picture_is_left_alone(desk: Desk, edit: Change) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    look(desk, edit, path=filed)
    assert not [*desk.inbox.iterdir()]


def test_a_tiff_that_is_edited_is_left_alone(desk: Desk) -> None:
    filed = desk.file_one(desk.put("scan.tif", pages(1))).destination
    assert filed is not None

    def paint(path: Path) -> None:
        Image.effect_noise((64, 64), 9).save(path, "TIFF")
        later(path)

    look(desk, paint, path=filed)
    assert filed.exists()


def test_what_grows_much_later_is_left_alone(desk: Desk) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    long_ago = int(1e6 * (datetime.now(UTC) - 2 * LATEST).timestamp())
    with closing(sqlite3.connect(desk.journal_path)) as db, db:
        db.execute("UPDATE filings SET time = ?", (long_ago,))
    look(desk, grow, path=filed)
    assert filed.exists()


def test_a_copy_that_was_moved_to_another_file_system_is_not_its_writer_s(tmp_path: Path) -> None:
    with far_folder() as far:
        desk = make_desk(tmp_path, far)
        filed = desk.file_one(desk.put()).destination
        assert filed is not None
        look(desk, grow, path=filed)
        assert filed.exists()


def test_a_name_that_is_taken_again_is_not_replaced(desk: Desk) -> None:
    filed = desk.file_one(desk.put()).destination
    assert filed is not None
    desk.put(content=b"the next one")
    look(desk, grow, path=filed)
    assert sorted(path.name for path in desk.inbox.iterdir()) == ["cat.jpg", "cat_2.jpg"]
    assert (desk.inbox / "cat_2.jpg").read_bytes() == b"an image and the rest"


def test_a_look_goes_on_where_it_stopped(desk: Desk) -> None:
    for number in range(3):
        desk.file_one(desk.put(f"{number}.jpg"))
    again = LateWrites([desk.inbox], desk.output, desk.journal())
    assert again.work(-1)
    assert again.work(-1)
    assert not again.work(60)
