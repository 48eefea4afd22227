"""A journal that cannot be written for a while is waited for, and is not taken for a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.journal import records
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing
from tests.daemon.journal.conftest import filing, history, set_aside


@pytest.fixture
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Another program holds the journal, until the value is called."""
    Journal(path).write([filing(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def release() -> None:
        other.execute("ROLLBACK")

    yield release
    other.close()


def test_a_journal_that_another_program_holds_is_not_damaged(path: Path, locked: Callable[[], None]) -> None:
    journal = Journal(path, timeout=0.01)
    with pytest.raises(JournalBusy, match=r"journal\S*': .*locked"):
        journal.write([filing(2)])
    with pytest.raises(JournalBusy):
        journal.note("a", "b")
    locked()
    journal.write([filing(3)])
    assert [row.identity.ino for row in history(path)] == [3, 1]
    assert set_aside(path) == []


def test_what_has_happened_is_written_when_the_journal_is_free(path: Path, locked: Callable[[], None]) -> None:
    journal = Journal(path, timeout=0.01)
    journal.write_later([filing(2)])
    journal.write_later([filing(3)])
    assert len(history(path)) == 1
    locked()
    journal.write([filing(4)])
    assert {row.identity.ino for row in history(path)} == {1, 2, 3, 4}
    journal.write([filing(5)])
    assert len(history(path)) == 5


def test_a_full_disk_is_waited_for(path: Path, connections: list[sqlite3.Connection]) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    (db,) = connections
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalBusy, match="full"):
        journal.write([filing(n, detail="x" * 10_000) for n in range(2, 100)])
    db.execute("PRAGMA max_page_count = 1000000")
    journal.write([filing(200)])
    assert [row.identity.ino for row in history(path)] == [200, 1]
    assert set_aside(path) == []


def failing_disk(times: int) -> Callable[[Any, Any], Sequence[int | None]]:
    left = [times]
    real = records.write

    def write(db: sqlite3.Connection, filings: list[Filing]) -> Sequence[int | None]:
        if left[0]:
            left[0] -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return real(db, filings)

    return write


def test_a_disk_with_the_hiccups_is_waited_for_and_a_dead_one_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    for _ in range(3):
        monkeypatch.setattr(records, "write", failing_disk(2))
        for _ in range(2):
            with pytest.raises(JournalBusy):
                journal.write([filing(2)])
        journal.write([filing(3)])
    assert set_aside(path) == []
    monkeypatch.setattr(records, "write", failing_disk(5))
    for _ in range(4):
        with pytest.raises(JournalBusy):
            journal.write([filing(4)])
    journal.write([filing(5)])
    assert len(set_aside(path)) > 0
    assert [row.identity.ino for row in history(path)] == [5]


def test_a_mistake_of_this_program_is_no_damage(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(sqlite3.Error):
        journal.write([filing(label=object())])
    journal.write([filing(1)])
    assert set_aside(path) == []
