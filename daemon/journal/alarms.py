"""Rows about alarms: one when something began to be wrong, and one when it was over.

They are few. The newest one of a cause and its subject tells whether that is wrong now, and is never pruned.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from daemon.files.locks import holders
from daemon.journal import opening
from daemon.journal.records import as_text, instant, moment, noted
from models.text.jsontext import json_text

#: Key of the note that tells this journal from an earlier one in its place, see `Journal.identity`.
IDENTITY = "journal"
#: The most rows that are kept: older ones are deleted, however young they are.
_MOST_ROWS = 10_000
_COLUMNS = "id, time, cause, subject, over, details"
_INSERT = "INSERT INTO alarms (time, cause, subject, over, details) VALUES (?, ?, ?, ?, ?)"
_NEWEST = "(SELECT max(id) FROM alarms GROUP BY cause, subject)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """Something began to be wrong, or is ``over``. ``subject`` is the path that it is about, ``details`` fill its
    sentence; see `daemon.alarms.causes`.
    """

    cause: str
    subject: str
    over: bool
    details: Mapping[str, object]
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None


def sender_lock(journal: Path) -> Path:
    """Return the file that is locked by the process that sends the alarms of a journal."""
    return journal.with_name("alerts.lock")


def is_sent(journal: Path) -> bool:
    """Whether a process sends the alarms of a journal, as far as this user can see."""
    try:
        return bool(holders(sender_lock(journal).stat().st_ino))
    except OSError:
        return False


def write(db: sqlite3.Connection, events: Sequence[AlarmEvent]) -> None:
    """Insert rows, in the transaction that is open."""
    db.executemany(
        _INSERT,
        [
            (instant(event.time), event.cause, as_text(event.subject), event.over, json_text(event.details))
            for event in events
        ],
    )


def newest(db: sqlite3.Connection) -> list[AlarmEvent]:
    """List the newest event of each cause and subject, oldest first."""
    return [_decoded(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM alarms WHERE id IN {_NEWEST} ORDER BY id")]


def after(db: sqlite3.Connection, number: int, limit: int) -> list[AlarmEvent]:
    """List events that were written after the one with this id, oldest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM alarms WHERE id > ? ORDER BY id LIMIT ?", (number, limit))
    return [_decoded(*row) for row in rows]


def count_after(db: sqlite3.Connection, number: int) -> int:
    """Count the events that were written after the one with this id."""
    (count,) = db.execute("SELECT count(*) FROM alarms WHERE id > ?", (number,)).fetchone()
    return int(count)


def last_id(db: sqlite3.Connection) -> int:
    """Return the id of the event that was written last, 0 before the first."""
    (number,) = db.execute("SELECT coalesce(max(id), 0) FROM alarms").fetchone()
    return int(number)


def prune(db: sqlite3.Connection, before: datetime) -> None:
    """Delete old events, but never the newest one of a cause and subject."""
    query = f"""DELETE FROM alarms WHERE id NOT IN {_NEWEST}
        AND (time < ? OR id <= (SELECT max(id) FROM alarms) - ?)"""
    db.execute(query, (instant(before), _MOST_ROWS))


def read_alarms(path: Path, since: datetime | None = None, limit: int | None = None) -> list[AlarmEvent]:
    """List events, newest first, beside the process that writes the journal. Raises `UserError`."""
    with opening.reading(path) as db:
        since_then = -(1 << 63) if since is None else instant(since)
        query = f"SELECT {_COLUMNS} FROM alarms WHERE time >= ? ORDER BY id DESC LIMIT ?"
        return [_decoded(*row) for row in db.execute(query, (since_then, -1 if limit is None else limit))]


def identity(db: sqlite3.Connection) -> str | None:
    """Return what tells this journal from an earlier one at its place; None where nobody has asked for it yet."""
    return noted(db, IDENTITY)


def _decoded(number: int, time: int, cause: str, subject: str | bytes, over: int, details: str) -> AlarmEvent:
    return AlarmEvent(
        id=number,
        time=moment(time),
        cause=cause,
        subject=os.fsdecode(subject),
        over=bool(over),
        details=json.loads(details),
    )
