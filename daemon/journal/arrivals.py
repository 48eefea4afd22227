"""Count what has come into inboxes, by the hour."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from daemon.journal.records import TEXT_ID, as_text, instant

#: An hour, in the microseconds of the journal.
_HOUR = 3_600_000_000
_BY_HOUR = f"""SELECT (SELECT text FROM texts WHERE id = inbox), hour, pictures, others, unreadable, last FROM (
    SELECT inbox, time / {_HOUR} AS hour, count(*) AS pictures, sum(folder IS {TEXT_ID}) AS others,
        sum(reason IS NOT NULL) AS unreadable, max(time) AS last
    FROM filings WHERE time >= ? AND image_id IS NULL AND state <> 'intent' GROUP BY inbox, hour) ORDER BY hour"""


class HourOfFolder(NamedTuple):
    """Counts of the pictures from one folder in one hour: all, those that went to the others, and unreadable ones.

    ``hour``: in hours since 1970. ``last``: when the last one was filed, in seconds since 1970.
    """

    folder: str
    hour: int
    pictures: int
    others: int
    unreadable: int
    last: float


def by_hour(db: sqlite3.Connection, others: Path, since: datetime) -> list[HourOfFolder]:
    """List what has come from each folder since a time, whatever became of it later; ``others`` is a folder.

    It reads all filings since then: half a second for half a million of them, most of it outside of Python.
    """
    rows = db.execute(_BY_HOUR, (as_text(str(others)), instant(since)))
    return [
        HourOfFolder(os.fsdecode(folder), hour, pictures, to_others, unreadable, last / 1e6)
        for folder, hour, pictures, to_others, unreadable, last in rows
    ]
