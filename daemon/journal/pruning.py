"""Delete the rows of the journal that are old, and that nothing depends on. Labels and held images stay."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from daemon.journal import alarms, held, labels
from daemon.journal.records import REMEMBERED, SELECT_COLUMNS, Filing, decode, instant

#: A place among the rows in the order of their times: a time and an id.
Position = tuple[int, int]
#: Before all rows.
BEGINNING: Position = (-(1 << 63), 0)
#: Texts are searched for unused ones only if there are this many, and more than two for each row.
FEW_TEXTS = 10_000
_FORGET_TEXTS = """DELETE FROM texts WHERE id NOT IN (
    SELECT run FROM filings UNION SELECT inbox FROM filings
    UNION SELECT folder FROM filings WHERE folder IS NOT NULL
    UNION SELECT model FROM filings WHERE model IS NOT NULL
    UNION SELECT folder FROM labels UNION SELECT folder FROM held)"""


def prune(
    db: sqlite3.Connection, before: datetime, after: Position, limit: int
) -> tuple[Position | None, list[Filing]]:
    """Go through the ``limit`` oldest rows after a position, from before a time; delete those that nothing depends on.

    At the end, texts that no row needs any more are deleted too, where that is worth while.
    Returns the position to go on from, None at the end, and those rows that keep files from being filed again.
    """
    query = f"""{SELECT_COLUMNS}, {REMEMBERED}, state IN ('done', 'undone', 'orphan') FROM filings
        WHERE time < ? AND (time, id) > (?, ?) ORDER BY time, id LIMIT ?"""
    old = [
        (decode(row), remembered, ended)
        for *row, remembered, ended in db.execute(query, (instant(before), *after, limit))
    ]
    free = [row.id for row, remembered, ended in old if row.id is not None and ended and not remembered]
    labels.detach(db, free)
    held.detach(db, free)
    db.executemany("DELETE FROM filings WHERE id = ?", [(row_id,) for row_id in free])
    last = old[-1][0] if len(old) == limit else None
    if last is None:
        alarms.prune(db, before)
        _forget_texts(db)
    go_on = None if last is None or last.id is None else (instant(last.time), last.id)
    return go_on, [row for row, remembered, _ in old if remembered]


def _forget_texts(db: sqlite3.Connection) -> None:
    """Delete texts that no row needs, once these may be the majority: each upload may come in a folder of its own.

    It looks at all rows: 0.2 s where 100,000 are left and 200,000 texts go.
    """
    (texts,) = db.execute("SELECT count(*) FROM texts").fetchone()
    (half,) = db.execute("SELECT count(*) FROM (SELECT 1 FROM filings LIMIT ?)", (texts // 2,)).fetchone()
    if texts >= FEW_TEXTS and half < texts // 2:
        db.execute(_FORGET_TEXTS)
