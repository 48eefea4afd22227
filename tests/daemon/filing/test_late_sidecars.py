"""A sidecar that comes late goes to where its image lies by then, and comes back with it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from daemon.files.source import Identity
from daemon.filing.corrections import Corrections
from daemon.filing.filer import Action
from daemon.filing.late_sidecars import AGAIN, PAUSE, LateSidecars
from daemon.filing.status import Status
from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing
from tests.filing_desk import Desk, images

LATE = ("cat.xmp", "cat.jpg.xmp")


@pytest.fixture
def desk(either: Desk) -> Desk:
    return either


def put_late(desk: Desk, *names: str) -> None:
    for name in names or LATE:
        path = desk.put(name, name.encode())
        os.utime(path, (time.time() - 60,) * 2)


def search(desk: Desk) -> None:
    """One whole look for sidecars that came late."""
    journal = desk.journal()
    assert not LateSidecars([desk.inbox], desk.output, journal, recursive=True).work(60.0)
    journal.close()


def rows(desk: Desk) -> list[Filing]:
    """The filings of images, newest first."""
    return list(read_history(desk.journal_path))


def undo_one(desk: Desk, row: Filing) -> Status:
    journal = desk.journal()
    (undone,) = undo(journal, [row])
    journal.close()
    return undone.status


def inbox(desk: Desk) -> list[str]:
    return [path.name for path in images(desk.inbox)]


def in_folder(desk: Desk, folder: str) -> list[str]:
    return [path.name for path in images(desk.output / folder)]


@pytest.mark.parametrize("order", ["newest first", "oldest first"])
def test_it_follows_an_image_that_was_relabelled_and_comes_back_with_it(desk: Desk, order: str) -> None:
    desk.file_one(desk.put("cat.jpg"))
    desk.file_one(desk.output / "cat/cat.jpg", "dog")
    put_late(desk)
    search(desk)
    assert in_folder(desk, "dog") == ["cat.jpg", *sorted(LATE)]
    assert inbox(desk) == in_folder(desk, "cat") == []
    relabelled, filed = rows(desk)
    if order == "oldest first":
        assert undo_one(desk, filed) is Status.GONE
    assert undo_one(desk, relabelled) is Status.UNDONE
    assert in_folder(desk, "cat") == ["cat.jpg", *sorted(LATE)]
    assert undo_one(desk, filed) is Status.UNDONE
    assert inbox(desk) == ["cat.jpg", *sorted(LATE)]
    assert images(desk.output) == []


def test_its_name_is_that_of_the_image_wherever_that_lies(desk: Desk) -> None:
    for folder in ("cat", "dog"):
        desk.file_one(desk.put("cat.jpg", folder.encode()), folder)
    desk.file_one(desk.put("cat.jpg", b"another"))
    desk.file_one(desk.output / "cat/cat_2.jpg", "dog", label="dog")
    (desk.output / "dog/cat.jpg").rename(desk.output / "cat.jpg")
    desk.file_one(desk.output / "dog/cat_2.jpg", "wolf")
    put_late(desk)
    search(desk)
    assert in_folder(desk, "wolf") == ["cat_2.jpg", "cat_2.jpg.xmp", "cat_2.xmp"]
    moved_on, moved, filed, *_ = rows(desk)
    assert undo_one(desk, moved_on) is Status.UNDONE
    assert in_folder(desk, "dog") == ["cat_2.jpg", "cat_2.jpg.xmp", "cat_2.xmp"]
    assert undo_one(desk, moved) is Status.UNDONE
    assert in_folder(desk, "cat") == ["cat.jpg", "cat_2.jpg", "cat_2.jpg.xmp", "cat_2.xmp"]
    assert undo_one(desk, filed) is Status.UNDONE
    assert inbox(desk) == ["cat.jpg", "cat.jpg.xmp", "cat.xmp"]


@pytest.mark.parametrize("action", ["copy", "link"])
def test_of_a_copied_image_that_was_relabelled_it_is_a_copy(desk: Desk, action: Action) -> None:
    desk.file_one(desk.put("cat.jpg"), action=action)
    desk.file_one(desk.output / "cat/cat.jpg", "dog")
    put_late(desk)
    for _ in range(2):
        search(desk)
    everything = ["cat.jpg", *sorted(LATE)]
    assert in_folder(desk, "dog") == inbox(desk) == everything
    relabelled, filed = rows(desk)
    assert undo_one(desk, relabelled) is Status.UNDONE
    assert in_folder(desk, "cat") == everything
    assert undo_one(desk, filed) is Status.UNDONE
    assert images(desk.output) == []
    assert inbox(desk) == everything


def test_it_follows_an_image_that_was_relabelled_back(desk: Desk) -> None:
    desk.file_one(desk.put("cat.jpg"))
    desk.file_one(desk.output / "cat/cat.jpg", "dog")
    desk.file_one(desk.output / "dog/cat.jpg", "cat")
    put_late(desk)
    search(desk)
    assert in_folder(desk, "cat") == ["cat.jpg", *sorted(LATE)]
    for row in rows(desk):
        assert undo_one(desk, row) is Status.UNDONE
    assert inbox(desk) == ["cat.jpg", *sorted(LATE)]


def move_by_hand(desk: Desk, old: str, new: str, *, labelled: bool) -> None:
    path = desk.output / new
    path.parent.mkdir(exist_ok=True)
    (desk.output / old).rename(path)
    if labelled:  # as the daemon does that sees it
        journal = desk.journal()
        identity = Identity.from_stat(path.stat())
        filing_id = rows(desk)[0].id
        label = Label(sha256="1" * 64, label="wolf", how=How.MOVED, path=path, identity=identity, filing_id=filing_id)
        journal.write([], labels=[label])
        journal.close()


@pytest.mark.parametrize("labelled", [True, False])
def test_it_follows_an_image_that_a_person_has_moved(desk: Desk, labelled: bool) -> None:
    desk.file_one(desk.put("cat.jpg"))
    desk.file_one(desk.output / "cat/cat.jpg", "dog")
    move_by_hand(desk, "dog/cat.jpg", "wolf/rex.jpg", labelled=labelled)
    put_late(desk)
    search(desk)
    assert in_folder(desk, "wolf") == ["rex.jpg", "rex.jpg.xmp", "rex.xmp"]
    (desk.output / "wolf/rex.jpg").rename(desk.output / "dog/cat.jpg")
    for row in rows(desk):
        assert undo_one(desk, row) is Status.UNDONE
    assert inbox(desk) == ["cat.jpg", *sorted(LATE)]
    assert images(desk.output) == []


def test_an_image_that_is_gone_is_not_searched_for_again_and_again(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Corrections] = []
    real = Corrections.read
    monkeypatch.setattr(Corrections, "read", lambda self: read.append(self) or real(self))  # type: ignore[func-returns-value]
    now = 0.0
    near.file_one(near.put("cat.jpg"))
    (near.output / "cat/cat.jpg").rename(near.output.parent / "cat.jpg")
    put_late(near, "cat.xmp")
    journal = near.journal()
    late = LateSidecars([near.inbox], near.output, journal, recursive=True, clock=lambda: now)
    for _ in range(5):
        assert not late.work(60.0)
        now += PAUSE
    assert len({*map(id, read)}) == 1
    move_back = near.output / "cat/2026/cat.jpg"
    move_back.parent.mkdir()
    (near.output.parent / "cat.jpg").rename(move_back)
    now += AGAIN
    assert not late.work(60.0)
    assert in_folder(near, "cat/2026") == ["cat.jpg", "cat.xmp"]
    journal.close()


def test_it_does_not_follow_an_image_that_was_brought_back(desk: Desk) -> None:
    desk.file_one(desk.put("cat.jpg"))
    desk.file_one(desk.output / "cat/cat.jpg", "dog")
    for row in rows(desk):
        assert undo_one(desk, row) is Status.UNDONE
    put_late(desk)
    search(desk)
    assert inbox(desk) == ["cat.jpg", *sorted(LATE)]
    assert Path(desk.inbox / "cat.xmp").read_bytes() == b"cat.xmp"
