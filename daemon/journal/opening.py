"""Open the journal's file, to write it or to read it beside the process that writes it.

A journal of an earlier version is migrated by whoever writes it, and read as it is by others; one of a newer version is
refused.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from loguru import logger

from daemon.journal import migrations, schema
from models.errors import UserError
from models.text.language import tr

_Answer = TypeVar("_Answer")

#: How a transaction is flushed: before it counts as done, or whenever the system gets to it, but never out of order.
DURABLY, _SOON = "FULL", "NORMAL"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def connect(path: Path | None, timeout: float) -> sqlite3.Connection:
    """Open a journal for writing, make it or migrate it; None keeps it in memory. Raises sqlite3.Error, UserError."""
    where = ":memory:" if path is None else path
    db = sqlite3.connect(where, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        version = _known_version(db, path)
        if path is not None and 0 < version < schema.VERSION:
            _migrate(db, path, version)
        elif not schema.is_complete(db):
            db.execute("PRAGMA journal_mode = WAL")
            in_transaction(db, lambda: schema.complete(db))
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a journal, which is never changed. Raises sqlite3.Error and UserError."""
    where = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(where, timeout=timeout, isolation_level=None, check_same_thread=False, uri=True)
    try:
        if 0 < _known_version(db, path) < schema.VERSION:
            return migrations.show_as_current(db)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal to read it beside the process that writes it. Raises `UserError` where it cannot be read."""
    try:
        with closing(connect_to_read(path)) as db:
            yield db
    except sqlite3.Error as error:
        raise UserError(tr("the journal '{path}' cannot be read: {error}", path=str(path), error=error)) from error


def _known_version(db: sqlite3.Connection, path: Path | None) -> int:
    version = schema.version_of(db)
    if version > schema.VERSION:
        raise UserError(
            tr(
                "the journal '{path}' is of a newer version of this program (its tables are of version {version}, this "
                "program knows {known}): install that version of imagesortd again",
                path=str(path),
                version=version,
                known=schema.VERSION,
            )
        )
    return version


def _migrate(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Migrate a journal of an earlier version. Until that is complete it stays unchanged, whatever happens."""
    logger.info(
        tr(
            "migrating the journal {path} from version {version} to {current}",
            path=str(path),
            version=version,
            current=schema.VERSION,
        )
    )
    try:
        migrations.keep_copy(db, path, version)
        db.execute("PRAGMA journal_mode = WAL")
        in_transaction(db, lambda: migrations.migrate(db))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise migrations.no_room(db, path, version) from error
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise migrations.no_room(db, path, version) from error
        raise UserError(
            tr(
                "the journal '{path}' is of an earlier version and cannot be migrated, because no copy of it can be "
                "made beside it ({reason}): see to that and start again; until then nothing of it is changed",
                path=str(path),
                reason=error.strerror,
            )
        ) from error
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # it is as large as the journal
    copy = migrations.copy_of(path, version)
    logger.info(tr("the journal is migrated; as it was it is kept as {copy}", copy=str(copy)))


def in_transaction(db: sqlite3.Connection, work: Callable[[], _Answer], *, durably: bool = True) -> _Answer:
    """Do the work in one transaction, which is flushed before this returns if it is to be durable."""
    db.execute(f"PRAGMA synchronous = {DURABLY if durably else _SOON}")
    db.execute("BEGIN IMMEDIATE")
    try:
        answer = work()
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return answer
