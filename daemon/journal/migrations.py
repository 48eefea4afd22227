"""Bring a journal of an earlier version up to date, in place, with a copy of it beside it.

The rows keep their ids. Each step goes by what the tables were like in that version.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from daemon.files.copying import Stopping, report_progress
from daemon.journal.records import instant
from daemon.journal.schema import TABLES, VERSION, complete, version_of
from models.errors import UserError
from models.files.atomic import sync_folder
from models.files.ownership import make_file
from models.text.language import tr

#: The first version in which rows share texts and times are numbers. To migrate an earlier one takes this many times
#: the size of the journal, for the copy, the log, and the old rows beside the new ones; a later one takes less.
#: Measured with a million rows: 2.5 and 1.1.
_TEXTS_SHARED, _ROOM_BEFORE, _ROOM_SINCE = 4, 3.0, 1.25
#: Pages that are copied, and steps that SQLite takes, between two reports of progress.
_PAGES, STEPS = 4096, 1_000_000
_MEGABYTE = 10**6
#: The column that came with version 6.
_DUPLICATE_OF = "duplicate_of INTEGER"

#: Fill the tables of version 4 from rows of an earlier one.
_SHARE_TEXTS = (
    """INSERT OR IGNORE INTO texts (text) SELECT run FROM earlier UNION SELECT inbox_of(source) FROM earlier
        UNION SELECT folder_of(destination) FROM earlier WHERE destination IS NOT NULL
        UNION SELECT model_digest FROM earlier WHERE model_digest IS NOT NULL""",
    """INSERT INTO filings SELECT id, (SELECT id FROM texts WHERE text = run), instant_of(time), state, action,
        (SELECT id FROM texts WHERE text = inbox_of(source)), name, dev, ino, size, mtime_ns, sha256,
        (SELECT id FROM texts WHERE text = folder_of(destination)), name_of(destination), copy_ino, label, confidence,
        (SELECT id FROM texts WHERE text = model_digest), reason, detail, image_id, NULL FROM earlier""",
)


def copy_of(path: Path, version: int) -> Path:
    """Return where the copy of a journal of a version is kept."""
    return path.with_name(f"{path.name}.version-{version}")


def keep_copy(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Make a durable copy of a journal before it is migrated, in place of the copies of earlier migrations.

    Raises UserError where there is no room, and OSError or sqlite3.Error.
    """
    require_room(db, path, version)
    copy = copy_of(path, version)
    part = path.with_name(f".{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = make_file(part, 0o600)
        try:
            _back_up(db, part)
            with suppress(OSError):  # a file system may know no modes
                os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(copy)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    for other in path.parent.glob(f"{path.name}.version-*"):
        if other != copy:
            other.unlink(missing_ok=True)


def _back_up(db: sqlite3.Connection, part: Path) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")  # it is flushed once, when it is complete
        db.backup(target, pages=_PAGES, progress=lambda *_: _report())


def require_room(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Raise UserError where the disk has too little room for a migration, before it is filled in vain."""
    needed, free = _room(db, path, version)
    if free < needed:
        raise no_room(db, path, version)


def no_room(db: sqlite3.Connection, path: Path, version: int) -> UserError:
    """Return the error for a migration without room, whether that was calculated or the system said so."""
    needed, free = _room(db, path, version)
    return UserError(
        tr(
            "the journal '{path}' is of an earlier version and there is no room to migrate it: make {needed} MB free "
            "in its folder, where {free} MB are, and start again; until then nothing of it is changed",
            path=str(path),
            needed=-(-needed // _MEGABYTE),
            free=free // _MEGABYTE,
        )
    )


def _room(db: sqlite3.Connection, path: Path, version: int) -> tuple[int, int]:
    """Return how many bytes a migration needs, and how many are free."""
    ((pages,), (page_size,)) = (db.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    room = os.statvfs(path.parent)
    many = _ROOM_SINCE if version >= _TEXTS_SHARED else _ROOM_BEFORE
    return int(pages * page_size * many) + _MEGABYTE, room.f_bavail * room.f_frsize


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables of an earlier version up to date, in the transaction that is open."""
    version = version_of(db)
    db.set_progress_handler(_report, STEPS)
    try:
        if version < 2:
            db.execute("ALTER TABLE filings ADD COLUMN image_id INTEGER")
        if version < _TEXTS_SHARED:
            _share_texts(db)
        if version < 5:
            for table in ("labels", "held"):
                db.execute(TABLES[table])
        if version < 6:
            db.execute(TABLES["alarms"])
        if _TEXTS_SHARED <= version < 6:
            db.execute(f"ALTER TABLE filings ADD COLUMN {_DUPLICATE_OF}")
        if version < VERSION:
            db.execute(f"PRAGMA user_version = {VERSION}")
        complete(db)
    finally:
        db.set_progress_handler(None, 0)


def _share_texts(db: sqlite3.Connection) -> None:
    """Write the rows anew: folders, runs and digests as shared texts, times as numbers."""
    for name, function in (
        ("inbox_of", _inbox_of),
        ("folder_of", _folder_of),
        ("name_of", _name_of),
        ("instant_of", _instant_of),
    ):
        db.create_function(name, 1, function, deterministic=True)
    db.execute("ALTER TABLE filings RENAME TO earlier")
    for table in ("filings", "texts"):
        db.execute(TABLES[table])
    for statement in _SHARE_TEXTS:
        db.execute(statement)
    db.execute("DROP TABLE earlier")


def show_as_current(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection that reads a journal of an earlier version as one of this version, and leaves it unchanged.

    Since version 4 only whole tables and a column have been added: they are empty here, nothing is copied, and what is
    written meanwhile is seen. One from before version 4 is migrated in a temporary database, and ``db`` is closed.
    """
    version = version_of(db)
    if version >= _TEXTS_SHARED:
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in TABLES.keys() - there:
            db.execute(TABLES[table].replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
        if version < 6:
            db.execute(f"CREATE TEMP VIEW filings AS SELECT *, NULL AS {_DUPLICATE_OF.split()[0]} FROM main.filings")
        return db
    temporary = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        temporary.execute("PRAGMA synchronous = OFF")
        db.backup(temporary, pages=_PAGES, progress=lambda *_: _report())
        migrate(temporary)
    except BaseException:
        temporary.close()
        raise
    db.close()
    return temporary


def _report() -> None:
    with suppress(Stopping):  # what is half done is taken back, and begun anew at the next start
        report_progress()


def _inbox_of(path: str | bytes) -> str | bytes:
    return _text(_bytes(path).rpartition(b"/")[0])


def _folder_of(path: str | bytes | None) -> str | bytes | None:
    return None if path is None else _text(_bytes(path).rpartition(b"/")[0] or b"/")


def _name_of(path: str | bytes | None) -> str | bytes | None:
    return None if path is None else _text(_bytes(path).rpartition(b"/")[2])


def _instant_of(time: str | int) -> int:
    """Return microseconds since 1970. Version 3 had them, those before it a text in UTC."""
    return time if isinstance(time, int) else instant(datetime.fromisoformat(time))


def _bytes(path: str | bytes) -> bytes:
    return path.encode() if isinstance(path, str) else path


def _text(path: bytes) -> str | bytes:
    """Give a path as text where it is valid UTF-8: a name that is none may lie in a folder that is."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return path
