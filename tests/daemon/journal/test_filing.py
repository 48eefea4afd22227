"""What the state of the journal means for the images: they are filed, or wait where they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from daemon.files import renaming
from daemon.files.renaming import FileAt
from daemon.filing import filer as filing_module
from daemon.filing.filer import Filer, Status
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.journal.records import State
from tests.daemon.journal.conftest import filing, garbage
from tests.filing_desk import Desk, make_desk


def busy(*_: object) -> None:
    raise JournalBusy("database or disk is full")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


def test_a_damaged_journal_stops_no_image(desk: Desk) -> None:
    desk.journal_path.parent.mkdir()
    garbage(desk.journal_path)
    assert desk.file_one(desk.put()).status is Status.FILED


def test_a_held_journal_leaves_the_images_in_the_inbox(desk: Desk, path: Path) -> None:
    desk.file_one(desk.put("first.jpg"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    filed = desk.file_one(desk.put("second.jpg"))
    assert filed.status is Status.RETRY
    assert filed.error is not None
    assert "journal" in filed.error
    assert (desk.inbox / "second.jpg").exists()
    other.close()
    assert desk.file_one(desk.inbox / "second.jpg").status is Status.FILED


def test_a_journal_that_is_held_when_the_image_has_moved(
    desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.file_one(desk.put("first.jpg"))
    other = sqlite3.connect(path, isolation_level=None)
    rename = renaming.rename_noreplace

    def hold(old: FileAt, new: FileAt) -> None:
        rename(old, new)
        other.execute("BEGIN IMMEDIATE")

    monkeypatch.setattr(renaming, "rename_noreplace", hold)
    journal = desk.journal()
    assert Filer(desk.output, journal=journal).file([desk.decide(desk.put())])[0].status is Status.FILED
    assert [row.state for row in journal.interrupted()] == [State.INTENT]
    other.execute("ROLLBACK")
    other.close()
    journal.close()
    assert [row.state for row in read_history(path)] == [State.DONE, State.DONE]


def test_what_was_left_unfinished_waits_for_a_journal_that_cannot_be_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.put()
    other = desk.put("other.jpg", b"another image")
    journal = desk.journal()
    decisions = [desk.decide(path), desk.decide(other)]
    row = filing(
        state=State.INTENT,
        source=path,
        identity=decisions[0].source.identity._replace(dev=99),
        folder=desk.output / "cat",
        filed_name="cat.jpg",
    )
    journal.write([row])
    filer = Filer(desk.output, journal=journal)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "interrupted", busy)
        assert filer.recover() == {}
        assert {filed.status for filed in filer.file(decisions)} == {Status.RETRY}
    with monkeypatch.context() as patch:
        patch.setattr(filing_module, "recover", busy)
        assert [filed.status for filed in filer.file(decisions)] == [Status.RETRY, Status.FILED]
    assert [filed.status for filed in filer.file(decisions[:1])] == [Status.FILED]
    assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/other.jpg"]
    assert journal.interrupted() == []
    journal.close()
