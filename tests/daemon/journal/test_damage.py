"""A journal that is damaged, foreign, taken away or not to be written costs its rows, and never stops the daemon."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.journal.journal import Journal
from daemon.journal.records import State
from daemon.service import open_journal
from tests.daemon.journal.conftest import filing, garbage, history, set_aside
from tests.filing_desk import bound_by_modes, tree


def torn(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def table_gone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE filings")
    db.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [garbage, torn, foreign, table_gone, a_folder])
def test_a_damaged_journal_is_set_aside_and_filing_goes_on(
    path: Path, log: list[str], damage: Callable[[Path], None]
) -> None:
    journal = Journal(path)
    journal.write([filing(n) for n in range(200)])
    journal.close()
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    journal = Journal(path)
    journal.write([filing(1000)])
    assert [row.identity.ino for row in history(path)] == [1000]
    (aside,) = set_aside(path)
    if before:
        assert aside.read_bytes() == before
    assert len(log) == 1
    assert aside.name in log[0]


@pytest.mark.parametrize("damage", [garbage, foreign, table_gone])
def test_a_dry_run_leaves_a_damaged_journal_where_it_is(
    path: Path, logged: list[str], damage: Callable[[Path], None]
) -> None:
    """It may be the journal of a daemon that is running."""
    whole = Journal(path)
    whole.write([filing(1, action="copy")])
    whole.close()
    damage(path)
    before = tree(path)
    journal = open_journal(path, dry_run=True)
    for _ in range(2):
        assert not journal.filed_before(filing(1).identity, filing(1).source, None)
    journal.close()
    assert tree(path) == before
    assert not set_aside(path)
    assert len(logged) == 1
    assert "cannot be read, so what was filed before is not known" in logged[0]


def test_a_dry_run_reads_the_journal_that_is_there_and_makes_none(path: Path) -> None:
    assert not open_journal(path, dry_run=True).filed_before(filing(1).identity, filing(1).source, None)
    assert not path.parent.exists()
    daemon = Journal(path)
    daemon.write([filing(1, action="copy")])
    beside = open_journal(path, dry_run=True)
    assert beside.filed_before(filing(1).identity, filing(1).source, None)
    daemon.write([filing(2, action="copy")])
    assert beside.filed_before(filing(2).identity, filing(2).source, None)


def test_damage_while_the_journal_is_in_use(path: Path, log: list[str]) -> None:
    journal = Journal(path)
    row = filing(0, state=State.INTENT)
    journal.write([*(filing(n) for n in range(1, 500)), row])
    journal.close()
    journal.write([filing(501)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    row.state = State.DONE
    for number in range(600, 620):
        journal.write([filing(number)])
    journal.write([row])
    assert len(set_aside(path)) == 1
    assert len(log) == 1
    assert history(path)[-1].id == row.id, "a row of the old journal goes on in the new one"


@pytest.mark.parametrize("how", ["deleted", "folder deleted", "replaced"])
def test_a_journal_taken_away_under_us(path: Path, log: list[str], how: str) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    if how == "folder deleted":
        shutil.rmtree(path.parent)
    else:
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
    if how == "replaced":
        other = Journal(path)
        other.write([filing(2)])
        other.close()
    journal.write([filing(3)])
    assert [row.identity.ino for row in history(path)] == ([3, 2] if how == "replaced" else [3])
    assert len(log) == 1
    assert "taken away" in log[0]


def test_a_journal_that_may_not_be_written_is_set_aside(path: Path, log: list[str]) -> None:
    Journal(path).write([filing(1)])
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        path.with_name(name).chmod(0o444)
    with bound_by_modes():
        Journal(path).write([filing(2)])
    assert [row.identity.ino for row in history(path)] == [2]
    assert len(set_aside(path)) == 3
    assert len(log) == 1


@pytest.mark.parametrize("missing", [True, False])
def test_where_no_journal_can_be_kept_it_is_kept_in_memory(
    tmp_path: Path, path: Path, log: list[str], missing: bool
) -> None:
    if not missing:
        path.parent.mkdir()
        path.parent.chmod(0o555)
    else:
        tmp_path.chmod(0o555)
    journal = Journal(path)
    with bound_by_modes():
        journal.write([filing(1, state=State.INTENT)])
        journal.write([filing(2, state=State.INTENT)])
    tmp_path.chmod(0o755)
    assert [row.identity.ino for row in journal.interrupted()] == [1, 2]
    assert "kept in memory" in log[-1]
    assert len(log) == 2
