"""A journal's file, rows for it, and what is read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Those that are opened from now on: what a pragma says, or limits, belongs to the connection alone."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def kept(*arguments: Any, **more: Any) -> sqlite3.Connection:
        made.append(connect(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    return made


def filing(number: int = 0, **more: Any) -> Filing:
    """What became of image ``number``, an hour after that of the one before."""
    values: dict[str, Any] = {
        "state": State.DONE,
        "action": "move",
        "source": Path(f"/inbox/{number}.jpg"),
        "identity": Identity(1, number, 3, 4),
        "time": DAY + timedelta(hours=number),
    }
    return Filing(**(values | more))


def history(path: Path, *, limit: int | None = None, **filters: Any) -> list[Filing]:
    """What any other program reads in the journal."""
    return list(read_history(path, Wanted(**filters), limit))


def set_aside(path: Path) -> list[Path]:
    """The files of journals that were found damaged."""
    return sorted(path.parent.glob("*.damaged-*"))


def garbage(path: Path) -> None:
    """Put what is no database in the journal's place."""
    path.write_bytes(b"no database at all" * 1000)


def plans(path: Path, ask: Callable[[sqlite3.Connection], object]) -> list[str]:
    """How SQLite finds the answers to what is asked, but for the texts of which a row says the numbers."""
    with sqlite3.connect(path) as db:
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        ask(db)
        db.set_trace_callback(None)
        found = [str(plan) for query in asked for *_, plan in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    db.close()
    found = [plan for plan in found if not plan.startswith("SEARCH texts USING INTEGER PRIMARY KEY")]
    return [plan for plan in found if plan.startswith(("SEARCH", "SCAN", "USE TEMP"))]


def search(index: str, terms: str) -> str:
    return f"SEARCH filings USING INDEX filings_{index} ({terms})"
