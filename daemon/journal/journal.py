"""Keep the journal: what is being filed and what was filed, in SQLite, durable before a file moves.

One thread of one process writes; other processes may read meanwhile (write-ahead log). A journal that is damaged or
cannot be written is set aside and a new one begun: filing goes on without its history, never without its images.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from loguru import logger

from daemon.files.source import Identity
from daemon.journal import alarms as alarm_rows
from daemon.journal import held as held_rows
from daemon.journal import history, opening, pruning, records
from daemon.journal import labels as label_rows
from daemon.journal.alarms import IDENTITY, AlarmEvent
from daemon.journal.held import Held
from daemon.journal.history import Wanted
from daemon.journal.labels import How, Label, WantedLabels
from daemon.journal.opening import in_transaction
from daemon.journal.pruning import Position
from daemon.journal.records import Filing, State
from models.files.ownership import make_file, make_folder
from models.text.language import tr

_Answer = TypeVar("_Answer")

#: Troubles that pass: another program holds the journal, or its disk is full.
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
#: Mistakes of this program; setting the journal aside would not mend them.
_OURS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
#: This many I/O errors in a row mean that the journal is damaged; fewer may be a disk that recovers.
_TOO_MANY_IO_ERRORS = 5


class JournalBusy(Exception):
    """The journal cannot be used now, because another program holds it or its disk is full: try again later."""


class Journal:
    """Journal in one file; ``path`` None keeps it in memory, for a program that files once and ends.

    Opened at the first use. ``run`` names this journal object and goes into every row it writes.
    """

    def __init__(self, path: Path | None, *, timeout: float = 10.0, read_only: bool = False) -> None:
        """``timeout``: seconds to wait for another program that holds the journal.

        ``read_only``: for a dry run, which may go on beside the daemon whose journal it is. The file is never changed,
        made or set aside; where it cannot be read, nothing is known of earlier filings.
        """
        self.run = records.new_run()
        self._path = path
        self._timeout = timeout
        self._read_only = read_only
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._io_errors = 0
        self._owed: list[Filing] = []
        #: How often labels may have changed since the start.
        self.label_changes = 0
        #: Called with the number of new labels that were written, by how people gave them.
        self.on_labels: Callable[[Mapping[How, int]], None] = lambda _: None

    def prepare(self) -> None:
        """Open the journal now, and migrate one of an earlier version. Raises JournalBusy, and UserError for a newer.

        Other methods do so too; but a migration may take a while, and if it fails, that is better known at the start.
        """
        self._use(lambda _: None)

    def close(self) -> None:
        """Write what is owed and close the file; the next use opens it again."""
        self.write_later([])
        self._close()

    def write(self, filings: Sequence[Filing], *, labels: Sequence[Label] = (), held: Sequence[Held] = ()) -> None:
        """Insert, update or (VOID) delete rows, durably, in one transaction; new ones get their ``id``.

        ``labels`` are inserted, or replaced if they have an id; ``held`` images replace what was held at their paths.
        The labels of filings that become UNDONE are forgotten, too. Raises JournalBusy.
        """
        self._write(filings, labels, held, durably=True)

    def write_later(self, filings: Sequence[Filing]) -> None:
        """Like ``write``, for changes that recovery can detect by itself.

        They are not flushed, but outlast the death of this process; a power cut may lose them, and the next start
        detects them again. While the journal is busy the rows are kept for the next call.
        """
        try:
            self._write(filings, durably=False)
        except JournalBusy as error:
            self._owed.extend(filings)
            logger.warning(tr("the journal is behind by {count} filings: {error}", count=len(self._owed), error=error))

    def _write(
        self, filings: Sequence[Filing], labels: Sequence[Label] = (), held: Sequence[Held] = (), *, durably: bool
    ) -> None:
        changes = [filing for filing in (*self._owed, *filings) if filing.id or filing.state is not State.VOID]
        if not (changes or labels or held):
            return
        for filing in changes:
            filing.run = filing.run or self.run
        new = Counter(label.how for label in labels if label.id is None)
        ids, label_ids = self._change(lambda db: _write_all(db, changes, labels, held), durably=durably)
        for filing, row_id in zip(changes, ids, strict=True):
            filing.id = row_id
        for label, row_id in zip(labels, label_ids, strict=True):
            label.id = row_id
            if label.filing is not None:
                label.filing_id = label.filing.id
        self._owed.clear()
        if labels or any(filing.state is State.UNDONE for filing in changes):
            self.label_changes += 1
        if new:
            self.on_labels(new)

    def labels(self, wanted: WantedLabels | None = None) -> Iterator[Label]:
        """Yield the labels that hold, the last one that was written first. Raises JournalBusy.

        The journal may be written meanwhile.
        """
        wanted = wanted or WantedLabels()
        read = label_rows.read
        return label_rows.in_pages(lambda before, limit: self._use(lambda db: read(db, wanted, before, limit)))

    def forget_labels(self, ids: Collection[int]) -> None:
        """Take back labels, durably, and all older ones of the same contents. Raises JournalBusy."""
        self._change(lambda db: label_rows.forget(db, ids))
        self.label_changes += 1

    def held(self) -> list[Held]:
        """List the images that are held, in the order in which they were held. Raises JournalBusy."""
        return self._use(held_rows.read)

    def release(self, held: Sequence[Held]) -> None:
        """See `held.release`; durable. Raises JournalBusy."""
        self._change(lambda db: held_rows.release(db, held))

    def filed_with_inode(self, inodes: Collection[int]) -> list[Filing]:
        """See `records.filed_with_inode`. Raises JournalBusy."""
        return self._use(lambda db: records.filed_with_inode(db, inodes))

    def interrupted(self) -> list[Filing]:
        """List the rows that a crash may have interrupted, oldest first. Raises JournalBusy."""
        return self._use(records.interrupted)

    def history(self, wanted: Wanted, limit: int | None = None) -> list[Filing]:
        """See `history.history`. Raises JournalBusy."""
        return self._use(lambda db: list(history.history(db, wanted, limit)))

    def filed_before(self, identity: Identity, source: Path, sha256: str | None, *, or_left: bool = False) -> bool:
        """See `records.filed_before`; earlier runs count. Raises JournalBusy."""
        return self._use(lambda db: records.filed_before(db, identity, source, sha256, or_left=or_left))

    def left_before(self, identity: Identity, source: Path, sha256: str | None) -> bool:
        """See `records.left_before`; earlier runs count. Raises JournalBusy."""
        return self._use(lambda db: records.left_before(db, identity, source, sha256))

    def filed_with_content(self, sha256: str, limit: int) -> list[Filing]:
        """See `records.filed_with_content`. Raises JournalBusy."""
        return self._use(lambda db: records.filed_with_content(db, sha256, limit))

    def same_filed(self, source: Path, size: int, content: Callable[[], str | None]) -> int | None:
        """Find the row of a file that was copied, linked or refused from this path with this content, at whatever time.

        ``content`` returns the sha256, and is only called where there may be such a row. Raises JournalBusy.
        """
        known = self._use(lambda db: records.contents_filed(db, source, size))
        return known.get(content() or "") if known else None

    def touch(self, row_id: int, identity: Identity) -> None:
        """See `records.touch`: the file is then recognised by its status. Raises JournalBusy."""
        self._change(lambda db: records.touch(db, row_id, identity), durably=False)

    def sidecars(self, image_id: int) -> list[Filing]:
        """See `records.sidecars`. Raises JournalBusy."""
        return self._use(lambda db: records.sidecars(db, image_id))

    def last_filed_from(self, sources: Sequence[Path], since: datetime) -> Filing | None:
        """See `records.last_filed_from`. Raises JournalBusy."""
        return self._use(lambda db: records.last_filed_from(db, sources, since))

    def recent_renames(self, since: datetime, limit: int) -> list[Filing]:
        """See `records.recent_renames`. Raises JournalBusy."""
        return self._use(lambda db: records.recent_renames(db, since, limit))

    def alarms(self) -> list[AlarmEvent]:
        """See `alarms.newest`. Raises JournalBusy."""
        return self._use(alarm_rows.newest)

    def write_alarms(self, events: Sequence[AlarmEvent]) -> None:
        """Insert what began to be wrong or is over, durably. Raises JournalBusy."""
        self._change(lambda db: alarm_rows.write(db, events))

    def prune(self, before: datetime, after: Position, limit: int) -> tuple[Position | None, list[Filing]]:
        """See `pruning.prune`. Raises JournalBusy."""
        return self._change(lambda db: pruning.prune(db, before, after, limit), durably=False)

    def note(self, key: str, value: str | None) -> None:
        """Remember a fact across restarts; None forgets it. Until `flush` a power cut undoes it. Raises JournalBusy."""
        self._change(lambda db: records.note(db, key, value), durably=False)

    def flush(self) -> None:
        """Return once the disk has all that was written. Safe in any thread, beside one that writes. Raises OSError.

        It opens the log once more: SQLite has no locks on that file, which closing it would release.
        """
        if self._path is None:
            return
        try:
            log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # where there can be no log, SQLite flushes each time
        try:
            os.fdatasync(log)
        finally:
            os.close(log)

    def noted(self, key: str) -> str | None:
        """Return what is remembered under a key, or None. Raises JournalBusy."""
        return self._use(lambda db: records.noted(db, key))

    def identity(self) -> str:
        """Return what tells this journal from one that was here before it was lost or set aside. Raises JournalBusy."""
        identity = self.noted(IDENTITY)
        if identity is None:
            self.note(IDENTITY, identity := self.run)
        return identity

    def _change(self, work: Callable[[sqlite3.Connection], _Answer], *, durably: bool = True) -> _Answer:
        """Do the work in a transaction."""
        self._follow_the_file()
        return self._use(lambda db: in_transaction(db, lambda: work(db), durably=durably))

    def _use(self, work: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        """Run ``work`` on the open journal; if that fails, on a new file; if that fails too, on a journal in memory."""
        steps = [self._do_without] if self._read_only else [self._reopen, self._set_aside, self._give_up]
        for replace in (*steps, None):
            try:
                answer = work(self._opened())
            except _OURS:
                raise
            except sqlite3.Error as error:
                if self._path is None or replace is None:
                    raise
                self._raise_if_it_passes(error)
                self._close()
                replace(self._path, error)
            else:
                self._io_errors = 0
                return answer
        raise AssertionError("the last try returns or raises")

    def _raise_if_it_passes(self, error: sqlite3.Error) -> None:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_IOERR:
            self._io_errors += 1
            self._close()
        if code in _PASSING or (code == sqlite3.SQLITE_IOERR and self._io_errors < _TOO_MANY_IO_ERRORS):
            raise JournalBusy(tr("'{path}': {error}", path=self._path, error=error)) from error

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            if self._path is not None and self._read_only:
                self._db = opening.connect_to_read(self._path, self._timeout)
            else:
                self._db = self._connected()
            self._file = _which_file(self._path)
        return self._db

    def _connected(self) -> sqlite3.Connection:
        if self._path is not None:
            with suppress(OSError):
                make_folder(self._path.parent)
                # SQLite gives the files beside the journal the same owner. One that exists is not opened here: closing
                # it would release the locks of its users in this process.
                if os.geteuid() == 0 and not self._path.exists():
                    os.close(make_file(self._path, 0o644))
        return opening.connect(self._path, self._timeout)

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _follow_the_file(self) -> None:
        """Notice a journal that was deleted or replaced while open: SQLite would go on writing to the old file."""
        if self._db is not None and self._path is not None and _which_file(self._path) != self._file:
            logger.error(tr("the journal {path} was taken away; a new one begins", path=str(self._path)))
            self._close()

    def _reopen(self, path: Path, error: sqlite3.Error) -> None:
        """Open the file again before it is given up: what looks like damage may be one bad read.

        I/O errors were tried again already, see `_raise_if_it_passes`.
        """
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
            self._set_aside(path, error)
        else:
            logger.warning(tr("the journal {path} is read again: {error}", path=str(path), error=error))

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        logger.error(
            tr(
                "the journal {path} cannot be used ({error}); it becomes {aside} and a new one begins",
                path=str(path),
                error=error,
                aside=aside,
            )
        )
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                path.with_name(path.name + suffix).rename(path.with_name(aside + suffix))

    def _do_without(self, path: Path, error: Exception) -> None:
        logger.warning(
            tr(
                "the journal {path} cannot be read, so what was filed before is not known: {error}",
                path=str(path),
                error=error,
            )
        )
        self._path = None

    def _give_up(self, path: Path, error: Exception) -> None:
        logger.error(
            tr(
                "no journal can be kept in {path} ({error}); until a restart it is kept in memory",
                path=str(path),
                error=error,
            )
        )
        self._path = None


def read_history(path: Path, wanted: Wanted | None = None, limit: int | None = None) -> Iterator[Filing]:
    """Yield what `history.history` does, read beside the process that writes the journal.

    Raises UserError when there is no journal or it cannot be read.
    """
    with opening.reading(path) as db:
        yield from history.history(db, wanted or Wanted(), limit)


def read_labels(path: Path, wanted: WantedLabels | None = None) -> Iterator[Label]:
    """Yield what `Journal.labels` does, like `read_history`."""
    with opening.reading(path) as db:
        yield from label_rows.in_pages(partial(label_rows.read, db, wanted or WantedLabels()))


def read_held(path: Path) -> list[Held]:
    """List what `Journal.held` does, like `read_history`."""
    with opening.reading(path) as db:
        return held_rows.read(db)


def _write_all(
    db: sqlite3.Connection, filings: Sequence[Filing], labels: Sequence[Label], held: Sequence[Held]
) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """Write rows of all kinds in the transaction that is open; returns the ids of the filings, and of the labels."""
    label_rows.follow(db, filings)
    ids = records.write(db, filings) if filings else ()
    row_ids = {id(filing): row_id for filing, row_id in zip(filings, ids, strict=True)} if labels else {}
    label_ids = label_rows.write(db, labels, row_ids)
    held_rows.write(db, held)
    return ids, label_ids


def _which_file(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
