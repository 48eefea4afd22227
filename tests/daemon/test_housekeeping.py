"""Old rows leave the journal, but none that something depends on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from daemon import housekeeping
from daemon.filing.filer import Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.housekeeping import Housekeeping, Pruning
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.journal.records import Filing, State
from tests.filing_desk import Desk, make_desk

OLD = datetime.now(UTC) - timedelta(days=401)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


def prune(desk: Desk, days: int = 400) -> None:
    journal = desk.journal()
    for _ in Pruning(journal, [desk.inbox], days).steps():
        pass
    journal.close()


def age(desk: Desk, state: State | None = None) -> None:
    """Let every row be an old one."""
    with closing(sqlite3.connect(desk.journal_path)) as db, db:
        assert db.execute("UPDATE filings SET time = ?", (int(1e6 * OLD.timestamp()),)).rowcount
        if state is not None:
            db.execute("UPDATE filings SET state = ?", (state,))


def left(desk: Desk) -> list[str]:
    everything = Wanted(states=list(State))
    return sorted(row.source.name for row in read_history(desk.journal_path, everything))


def test_old_rows_go_and_new_ones_stay(desk: Desk) -> None:
    desk.file_one(desk.put("old.jpg"))
    age(desk)
    desk.file_one(desk.put("new.jpg"))
    prune(desk, days=0)
    assert left(desk) == ["new.jpg", "old.jpg"]
    prune(desk)
    assert left(desk) == ["new.jpg"]


@pytest.mark.parametrize("few", [1, 1000])
def test_texts_that_no_row_needs_go_once_they_are_many(desk: Desk, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of uploads that come in a folder each, every row would leave one for ever."""
    monkeypatch.setattr("daemon.journal.pruning.FEW_TEXTS", few)

    def upload(folder: str) -> Path:
        (desk.inbox / folder).mkdir()
        return desk.put(f"{folder}/image.jpg", folder.encode())

    desk.file([desk.decide(upload(f"old{number}"), model_digest="1" * 64) for number in range(8)])
    age(desk)
    desk.file_one(upload("new"), model_digest="2" * 64)
    desk.file_one(upload("torn"), reason="truncated")
    known = list(read_history(desk.journal_path))[:2]
    prune(desk)
    assert list(read_history(desk.journal_path)) == known
    with closing(sqlite3.connect(desk.journal_path)) as db:
        texts = {text for (text,) in db.execute("SELECT text FROM texts")}
    assert {str(desk.inbox / name) for name in ("new", "torn")} < texts
    assert (str(desk.inbox / "old0") in texts) == (few == 1000)


@pytest.mark.parametrize(("state", "stays"), [("intent", True), ("copied", True), ("orphan", False), ("undone", False)])
def test_what_is_unfinished_stays(desk: Desk, state: str, stays: bool) -> None:
    desk.file_one(desk.put())
    age(desk, State(state))
    prune(desk)
    assert left(desk) == (["cat.jpg"] if stays else [])


@pytest.mark.parametrize("what", ["copied", "refused", "renamed", "in a folder", "replaced", "gone", "drive away"])
def test_what_was_copied_is_remembered_while_it_may_be_there(
    desk: Desk, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.put()
    reason = "corrupt" if what == "refused" else None
    desk.file([desk.decide(path, reason=reason)], action="copy")
    age(desk)
    away = desk.inbox.with_name("away")
    if what == "renamed":
        path = path.rename(desk.inbox / "renamed.jpg")
    elif what == "in a folder":
        (desk.inbox / "day").mkdir()
        path = path.rename(desk.inbox / "day/cat.jpg")
    elif what == "replaced":
        desk.put("new", b"another image")
        (desk.inbox / "new").rename(path)
    elif what == "gone":
        path.unlink()
    elif what == "drive away":
        desk.inbox.rename(away)
        desk.inbox.mkdir()
        real = os.fstat

        def fstat(descriptor: int) -> os.stat_result:
            status = real(descriptor)
            return os.stat_result((*status[:2], status.st_dev + 1, *status[3:]))

        monkeypatch.setattr(os, "fstat", fstat)
    prune(desk)
    assert bool(left(desk)) == (what not in ("replaced", "gone"))
    if what in ("copied", "refused", "renamed", "in a folder"):
        (again,) = desk.file([desk.decide(path, reason=reason)], action="copy")
        assert again.status is Status.ALREADY


def test_what_lies_behind_a_link_in_the_place_of_a_folder_says_nothing_of_what_was_there(desk: Desk) -> None:
    """The folder may come back, and its images are not to be filed twice then."""
    folder, elsewhere = desk.inbox / "day", desk.inbox.with_name("elsewhere")
    folder.mkdir()
    desk.file([desk.decide(desk.put("day/cat.jpg"))], action="copy")
    age(desk)
    folder.rename(desk.inbox.with_name("kept"))
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    prune(desk)
    assert left(desk) == ["cat.jpg"]


def test_many_rows_go_in_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "ROWS_AT_ONCE", 3)
    paths = [desk.put(f"{number}.jpg") for number in range(10)]
    desk.file([desk.decide(path) for path in paths[:5]])
    desk.file([desk.decide(path) for path in paths[5:]], action="copy")
    age(desk)
    paths[5].unlink()
    paths[9].unlink()
    prune(desk)
    assert left(desk) == ["6.jpg", "7.jpg", "8.jpg"]


def test_what_must_stay_is_passed_over_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step looks at so many rows at most, however many there are that it may not delete."""
    monkeypatch.setattr(housekeeping, "ROWS_AT_ONCE", 3)
    desk.file([desk.decide(desk.put(f"{number}.jpg")) for number in range(9)], action="copy")
    desk.file([desk.decide(desk.put(f"moved-{number}.jpg")) for number in range(2)])
    age(desk)
    journal = desk.journal()
    monkeypatch.setattr(journal, "prune", prunes := Mock(wraps=journal.prune))
    monkeypatch.setattr(housekeeping, "inode_numbers", walks := Mock())
    for _ in Pruning(journal, [desk.inbox], 400).steps():
        pass
    journal.close()
    assert len(left(desk)) == 9
    assert prunes.call_count == 4
    assert not walks.called, "the inboxes are only walked for files that are not in their places"


def make(desk: Desk, journal: Journal) -> Housekeeping:
    late_sidecars = LateSidecars([desk.inbox], desk.output, journal, recursive=True)
    return Housekeeping(late_sidecars, Pruning(journal, [desk.inbox], 400))


def test_in_an_idle_moment_a_little_at_a_time(desk: Desk) -> None:
    desk.file_one(desk.put("old.jpg"))
    desk.file_one(desk.put("sidecar-of.jpg"))
    age(desk)
    desk.file_one(desk.put("cat.jpg"))
    os.utime(desk.put("cat.xmp"), (1e9, 1e9))
    journal = desk.journal()
    housekeeping = make(desk, journal)
    moments = 1
    while housekeeping.idle(0.0):
        moments += 1
    assert moments > 1
    assert left(desk) == ["cat.jpg"]
    assert "cat/cat.xmp" in desk.filed()
    journal.close()


@pytest.mark.parametrize("overdue", [True, False])
def test_where_no_moment_is_idle_it_is_done_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, overdue: bool
) -> None:
    """Cameras that deliver an image a second would let the journal grow for years."""
    monkeypatch.setattr(housekeeping, "LONGEST_RUSH", 0.0 if overdue else 3600.0)
    desk.file_one(desk.put("old.jpg"))
    age(desk)
    journal = desk.journal()
    busy = make(desk, journal)
    for _ in range(10):
        busy.turn(idle=False)
    assert left(desk) == ([] if overdue else ["old.jpg"])
    busy.turn(idle=True)
    assert left(desk) == []
    journal.close()


def test_a_journal_that_is_held_is_pruned_another_day(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> list[Filing]:
        raise JournalBusy("database is locked")

    journal = desk.journal()
    monkeypatch.setattr(journal, "prune", busy)
    housekeeping = make(desk, journal)
    assert not housekeeping.idle(1.0)
    monkeypatch.undo()
    assert not housekeeping.idle(1.0)
    journal.close()


def test_an_inbox_that_cannot_be_read_forgets_nothing(desk: Desk) -> None:
    path = desk.put()
    desk.file([desk.decide(path)], action="copy")
    age(desk)
    path.unlink()
    desk.inbox.rmdir()
    journal = desk.journal()
    assert not make(desk, journal).idle(1.0)
    journal.close()
    assert left(desk) == ["cat.jpg"]


def test_a_clock_that_is_years_ahead_for_one_start_takes_no_history(desk: Desk) -> None:
    """Time counts as far as the daemon has lived through it."""
    desk.file_one(desk.put("new.jpg"))
    journal = desk.journal()
    real, lived = datetime.now(UTC), 0.0

    def pruned(wall: datetime) -> list[str]:
        pruning = Pruning(journal, [desk.inbox], 400, clock=lambda: lived, wall=lambda: wall)
        pruning.record_time()
        for _ in pruning.steps():
            pass
        return left(desk)

    assert pruned(real) == ["new.jpg"]
    assert pruned(real + timedelta(days=1100)) == ["new.jpg"]
    assert pruned(real - timedelta(days=1100)) == ["new.jpg"]
    pruning = Pruning(journal, [desk.inbox], 400, clock=lambda: lived, wall=lambda: real + timedelta(seconds=lived))
    for _ in range(402):
        pruning.record_time()
        lived += 86400
    for _ in pruning.steps():
        pass
    assert left(desk) == ["new.jpg"], "the clock was set back before"
    for _ in range(1200):
        pruning.record_time()
        lived += 86400
    for _ in pruning.steps():
        pass
    assert left(desk) == []
