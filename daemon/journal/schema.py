"""Create the journal's tables and indexes.

Every query of a command or the daemon uses an index, and mostly its order: a journal of a million rows answers as fast
as one of a thousand. Only probabilities, models and runs are scanned, in an index and without their rows: an index of
each would cost more for every image.

Texts that many rows have in common, such as a folder or the digest of a model, are written once, and rows refer to them
by id. The column ``inbox`` holds the folder that the image came from: an inbox or a folder inside it, or a class folder
where an image is sorted again or brought back.
"""

from __future__ import annotations

import sqlite3

#: Kept in ``PRAGMA user_version``; raised with every change of the tables. Indexes may change without.
VERSION = 4

_TABLES = (
    """CREATE TABLE filings (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES texts,
    time INTEGER NOT NULL,
    state TEXT NOT NULL,
    action TEXT NOT NULL,
    inbox INTEGER NOT NULL REFERENCES texts,
    name NOT NULL,
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    folder INTEGER REFERENCES texts,
    filed_name,
    copy_ino INTEGER,
    label TEXT,
    confidence REAL,
    model INTEGER REFERENCES texts,
    reason TEXT,
    detail TEXT,
    image_id INTEGER
)""",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, text NOT NULL UNIQUE)",
    "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

#: Whether an image was filed under another name than it had in the inbox, which is rare.
RENAMED = "filed_name <> name"

_INDEXES = {
    # Interrupted filings, in the words used elsewhere.
    "filings_unfinished": "(id) WHERE state IN ('intent', 'copied')",
    "filings_identity": "(mtime_ns, size) WHERE action <> 'move'",
    "filings_image": "(image_id) WHERE image_id IS NOT NULL",
    # The order of a history; what comes after it is looked at without the row.
    "filings_history": "(time, id, confidence, model, run)",
    "filings_name": "(name, time)",
    "filings_renamed": f"(filed_name) WHERE {RENAMED}",
    "filings_label": "(label, time)",
    "filings_reason": "(time) WHERE reason IS NOT NULL",
}


def has_tables(db: sqlite3.Connection) -> bool:
    """Whether a database is a journal, not a new file; raises sqlite3.DatabaseError for tables of another version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version != VERSION and (version, tables) != (0, 0):
        error = sqlite3.DatabaseError(f"its tables are of version {version}, this program knows {VERSION}")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    return bool(tables)


def is_complete(db: sqlite3.Connection) -> bool:
    """Whether there is nothing for `complete` to do. Raises like `has_tables`."""
    return has_tables(db) and _indexes(db) == _INDEXES.keys()


def complete(db: sqlite3.Connection) -> None:
    """Create what is missing, and drop indexes of earlier versions, in the transaction that is open."""
    if not has_tables(db):
        for table in _TABLES:
            db.execute(table)
        db.execute(f"PRAGMA user_version = {VERSION}")
    there = _indexes(db)
    for name in there - _INDEXES.keys():
        db.execute(f"DROP INDEX {name}")
    for name in _INDEXES.keys() - there:
        db.execute(f"CREATE INDEX {name} ON filings {_INDEXES[name]}")


def _indexes(db: sqlite3.Connection) -> set[str]:
    return {
        str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    }
