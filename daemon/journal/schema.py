"""Create the journal's tables and indexes.

Every query of a command or the daemon uses an index, and mostly its order: a journal of a million rows answers as fast
as one of a thousand. Only probabilities, models and runs are scanned, in an index and without their rows: an index of
each would cost more for every image.

Texts that many rows have in common, such as a folder or the digest of a model, are written once, and rows refer to them
by id. The column ``inbox`` holds the folder that the image came from: an inbox or a folder inside it, or a class folder
where an image is sorted again or brought back.

Labels and held images are few, and outlive the filings that they name: pruning sets their column ``filing`` to NULL, so
that no later filing of the same id is taken for it.
"""

from __future__ import annotations

import sqlite3

#: Kept in ``PRAGMA user_version``. Raised with every change of the tables: `migrations` then has to bring it about, and
#: the tests need a journal of the version before. Indexes may change without.
VERSION = 6

#: Migrations use these, too: to change one, first keep there what it was like in earlier versions.
TABLES = {
    "filings": """CREATE TABLE filings (
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
    image_id INTEGER,
    duplicate_of INTEGER
)""",
    "texts": "CREATE TABLE texts (id INTEGER PRIMARY KEY, text NOT NULL UNIQUE)",
    "notes": "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "labels": """CREATE TABLE labels (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,
    label TEXT,
    how TEXT NOT NULL,
    time INTEGER NOT NULL,
    folder INTEGER NOT NULL REFERENCES texts,
    name NOT NULL,
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    filing INTEGER,
    forgotten INTEGER NOT NULL
)""",
    "held": """CREATE TABLE held (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    folder INTEGER NOT NULL REFERENCES texts,
    name NOT NULL,
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    filing INTEGER,
    UNIQUE (name, folder)
)""",
    "alarms": """CREATE TABLE alarms (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    cause TEXT NOT NULL,
    subject NOT NULL,
    over INTEGER NOT NULL,
    details TEXT NOT NULL
)""",
}

#: Whether an image was filed under another name than it had in the inbox, which is rare.
RENAMED = "filed_name <> name"

#: The inode of what was put there: the copy's, else the image's own.
FILED_INO = "coalesce(copy_ino, ino)"

#: An image that got a tag where it lies, in place of a folder.
TAGGED = "action = 'tag' AND state = 'done' AND image_id IS NULL AND filed_name IS NOT NULL"

#: The beginning of the content's hash.
CONTENT = "substr(sha256, 1, 16)"

_INDEXES = {
    # Interrupted filings; SQLite uses the index only for a condition in these words.
    "filings_interrupted": "filings (id) WHERE state IN ('intent', 'copied')",
    "filings_identity": "filings (mtime_ns, size) WHERE action <> 'move'",
    "filings_image": "filings (image_id) WHERE image_id IS NOT NULL",
    # The order of a history; the columns after it are compared without reading the row.
    "filings_history": "filings (time, id, confidence, model, run)",
    "filings_name": "filings (name, time)",
    "filings_renamed": f"filings (filed_name) WHERE {RENAMED}",
    "filings_label": "filings (label, time)",
    "filings_reason": "filings (time) WHERE reason IS NOT NULL",
    # What the review page shows: the pile, the images of a class, and how many each has, all without reading the rows.
    "filings_folder": "filings (folder, label) WHERE state = 'done' AND image_id IS NULL AND reason IS NULL",
    # The images of a class that were tagged where they lie, which may be anywhere.
    "filings_tagged": f"filings (label, folder) WHERE {TAGGED}",
    # Written once, when the filing is done, however often its inode changed before; then nobody waits for the disk.
    "filings_inode": f"filings ({FILED_INO}) WHERE state = 'done'",
    # What was filed with some content: a quarter of the hash tells contents apart well enough, and the row has the
    # rest.
    "filings_content": f"filings ({CONTENT}) WHERE state = 'done'",
    # The newest label of a content that is not forgotten.
    "labels_content": "labels (sha256, forgotten)",
    "labels_label": "labels (label)",
    "labels_how": "labels (how)",
    "labels_name": "labels (name)",
    "labels_filing": "labels (filing) WHERE filing IS NOT NULL",
    "held_filing": "held (filing) WHERE filing IS NOT NULL",
}


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of a journal, 0 for a new file; raises sqlite3.DatabaseError for another database."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if (version, tables) != (0, set()) and (version < 1 or not tables & TABLES.keys()):
        error = sqlite3.DatabaseError("it is no journal of this program")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    return int(version)


def is_complete(db: sqlite3.Connection) -> bool:
    """Whether a journal of this version lacks nothing that `complete` makes."""
    return _indexes(db) == _INDEXES.keys()


def complete(db: sqlite3.Connection) -> None:
    """Create what a new file or a journal of this version lacks, in the transaction that is open.

    Indexes of earlier versions are dropped.
    """
    if version_of(db) == 0:
        for table in TABLES.values():
            db.execute(table)
        db.execute(f"PRAGMA user_version = {VERSION}")
    there = _indexes(db)
    for name in there - _INDEXES.keys():
        db.execute(f"DROP INDEX {name}")
    for name in _INDEXES.keys() - there:
        db.execute(f"CREATE INDEX {name} ON {_INDEXES[name]}")


def _indexes(db: sqlite3.Connection) -> set[str]:
    return {
        str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    }
