"""Write and query the journal's rows: one for each filing, and a few notes."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from daemon.files.names import spellings
from daemon.files.source import Identity
from daemon.journal.schema import RENAMED

#: All that changes on the way; the indexes of the rest need not be written again.
_CHANGING = ("state", "action", "sha256", "filed_name", "copy_ino", "detail")
_COLUMNS = (*_CHANGING, "run", "time", "inbox", "name", "dev", "ino", "size", "mtime_ns", "folder", "label",
            "confidence", "model", "reason", "image_id")  # fmt: skip
#: The columns that hold the number of a text.
_NUMBERED = frozenset({"run", "inbox", "folder", "model"})
_INSERT = f"INSERT INTO filings ({', '.join(_COLUMNS)}, id) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
_UPDATE = f"UPDATE filings SET {', '.join(f'{column} = ?' for column in _CHANGING)} WHERE id = ?"
_FINISH = "UPDATE filings SET state = 'done' WHERE id IN ({})"
_READ = [
    f"(SELECT text FROM texts WHERE id = filings.{column})" if column in _NUMBERED else column for column in _COLUMNS
]
_SELECT_ALSO = f"SELECT id, {', '.join(_READ)}"
_SELECT = f"{_SELECT_ALSO} FROM filings"
#: The number of a given text; NULL, which is equal to nothing, where no row has it.
_NUMBER = "(SELECT id FROM texts WHERE text = ?)"
#: How a path ends: that many bytes, and these. A path that is no text is kept as its bytes anyway.
_ENDS = "substr(CAST(text AS BLOB), -?) = ?"
#: The inode of what was put there: the copy's, else the image's own.
_FILED_INO = "coalesce(copy_ino, ino)"
#: Fewer texts, and no more than twice as many as rows, are not worth a look at all rows for those nobody needs.
FEW_TEXTS = 10_000
_FORGET_TEXTS = """DELETE FROM texts WHERE id NOT IN (
    SELECT run FROM filings UNION SELECT inbox FROM filings
    UNION SELECT folder FROM filings WHERE folder IS NOT NULL
    UNION SELECT model FROM filings WHERE model IS NOT NULL)"""
#: What keeps a file in the inbox from being filed again.
_REMEMBERED = "(state = 'refused' OR (state = 'done' AND action IN ('copy', 'link')))"
_FROM_THERE = "(name = :name AND inbox = (SELECT id FROM texts WHERE text = :inbox))"
_FILED_BEFORE = f"""
SELECT 1 FROM filings WHERE mtime_ns = :mtime_ns AND size = :size AND action <> 'move'
    AND ((ino = :ino AND (dev = :dev OR {_FROM_THERE})) OR ({_FROM_THERE} AND sha256 = :sha256))
    AND {_REMEMBERED} LIMIT 1
"""

#: Of a name that a camera gives to every picture, no more rows are looked at.
_FROM_THERE_BY_CONTENT = f"""
SELECT id, sha256 FROM (SELECT * FROM filings WHERE name = :name ORDER BY time DESC LIMIT 1000)
    WHERE size = :size AND sha256 IS NOT NULL AND {_REMEMBERED}
    AND inbox = (SELECT id FROM texts WHERE text = :inbox)
"""
#: What was filed keeps its inode, which is the original's where it is a link.
_TOUCH = """UPDATE filings SET copy_ino = iif(action = 'link', coalesce(copy_ino, ino), copy_ino),
    dev = ?, ino = ?, mtime_ns = ? WHERE id = ?"""


#: A place among the rows in the order of their times: a time and an id.
Position = tuple[int, int]
#: Before all rows.
BEGINNING: Position = (-(1 << 63), 0)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The first time that ext4 and XFS keep, in 1901, in nanoseconds since 1970; what they keep has 64 bits from there on.
_EARLIEST = -(1 << 31) * 10**9


class State(StrEnum):
    """How far a filing has come."""

    INTENT = "intent"  # about to be done; the image is in the inbox
    COPIED = "copied"  # the copy is complete and durable; the original is about to go
    DONE = "done"
    UNDONE = "undone"  # moved back to where it came from
    REFUSED = "refused"  # unreadable, and left where it is because images are not to be moved
    ORPHAN = "orphan"  # after a crash, found neither at its source nor at its destination
    VOID = "void"  # came to nothing: writing it takes the row away


@dataclass(slots=True, kw_only=True)
class Filing:
    """One image, filed or being filed; ``id`` is None until it is written.

    It goes to ``folder`` as ``filed_name``; they are None where no place was chosen.
    ``copy_ino`` is the inode of the copy, where one was made. ``reason`` is None except for unreadable images.
    ``image_id``: this is a sidecar, and that is the filing of its image.
    """

    state: State
    action: str
    source: Path
    identity: Identity
    sha256: str | None = None
    folder: Path | None = None
    filed_name: str | None = None
    copy_ino: int | None = None
    label: str | None = None
    confidence: float | None = None
    model_digest: str | None = None
    reason: str | None = None
    detail: str | None = None
    image_id: int | None = None
    run: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None

    @property
    def destination(self) -> Path | None:
        """Return where the image goes, or lies."""
        return None if self.folder is None or self.filed_name is None else self.folder / self.filed_name

    @property
    def filed_ino(self) -> int:
        """Return the inode of what was put there: the copy's, else the image's own."""
        return self.identity.ino if self.copy_ino is None else self.copy_ino


def write(db: sqlite3.Connection, filings: Sequence[Filing]) -> Sequence[int | None]:
    """Insert, update or (VOID) delete rows in the transaction that is open; returns their ids.

    Of a row that becomes DONE all the rest is written already.
    """
    if all(filing.id is None for filing in filings):
        return _insert(db, filings)
    done = [filing.id for filing in filings if filing.state is State.DONE and filing.id is not None]
    if not done or db.execute(_FINISH.format(_marks(done)), done).rowcount < len(done):
        return [write_one(db, filing) for filing in filings]
    finished = set(done)
    return [filing.id if filing.id in finished else write_one(db, filing) for filing in filings]


def _insert(db: sqlite3.Connection, filings: Sequence[Filing]) -> range:
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM filings").fetchone()
    ids = range(last + 1, last + 1 + len(filings))
    texts = _Texts(db)
    db.executemany(_INSERT, [encode(filing, number, texts) for filing, number in zip(filings, ids, strict=True)])
    return ids


class _Texts(dict[str, int]):
    """Maps texts to their numbers; a new text gets one in the transaction that is open."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __missing__(self, text: str) -> int:
        value = _text(text)
        self._db.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (value,))
        ((number,),) = self._db.execute("SELECT id FROM texts WHERE text = ?", (value,))
        self[text] = int(number)
        return self[text]


def write_one(db: sqlite3.Connection, filing: Filing) -> int | None:
    """Insert, update or (VOID) delete one row in the transaction that is open; returns its id."""
    if filing.state is State.VOID:
        db.execute("DELETE FROM filings WHERE id = ?", (filing.id,))
        return None
    if filing.id is not None and db.execute(_UPDATE, (*_changing(filing), filing.id)).rowcount:
        return filing.id
    # A row that has an id but is not there was written to a journal that has been set aside since.
    return db.execute(_INSERT, encode(filing, filing.id, _Texts(db))).lastrowid


def unfinished(db: sqlite3.Connection) -> list[Filing]:
    """List the rows that a crash may have interrupted, oldest first."""
    rows = db.execute(f"{_SELECT} WHERE state IN ('intent', 'copied') ORDER BY id")
    return [_decode(row) for row in rows]


def filed_before(db: sqlite3.Connection, identity: Identity, source: Path, sha256: str | None) -> bool:
    """Whether the file was copied, linked or refused in this state.

    Device numbers may change when the machine starts anew: the same path counts as much as the same device. On some
    network file systems inode numbers do so too: the content (if given) under the same path counts as much as they.
    """
    folder, _, name = str(source).rpartition("/")
    values = {
        "mtime_ns": _signed(identity.mtime_ns),
        "size": identity.size,
        "ino": _signed(identity.ino),
        "dev": _signed(identity.dev),
        "inbox": _text(folder),
        "name": _text(name),
        "sha256": sha256,
    }
    return db.execute(_FILED_BEFORE, values).fetchone() is not None


def contents_filed(db: sqlite3.Connection, source: Path, size: int) -> dict[str, int]:
    """Map the sha256 of what was copied, linked or refused from a path in this size to the numbers of the rows."""
    folder, _, name = str(source).rpartition("/")
    values = {"inbox": _text(folder), "name": _text(name), "size": size}
    return {sha256: number for number, sha256 in db.execute(_FROM_THERE_BY_CONTENT, values)}


def touch(db: sqlite3.Connection, number: int, identity: Identity) -> None:
    """Remember that a file which stays in the inbox has another time or inode now, and the same content."""
    db.execute(_TOUCH, (_signed(identity.dev), _signed(identity.ino), _signed(identity.mtime_ns), number))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows a history yields: those of images that meet everything given.

    ``label`` is the class that it was taken for; an image ``or_with_inode`` among these counts, too.
    ``name`` is that of the image in the inbox or where it was filed, or with a slash its path there: absolute, or
    its end.
    ``model_digest`` may be its beginning. ``since`` is the first instant, ``until`` the first one no longer wanted.
    ``reasons``: unreadable images of one of these kinds; an empty sequence means of any. ``as_written``: the last one
    that was written comes first, whatever the clock said; else the one of the latest time.
    """

    label: str | None = None
    or_with_inode: Sequence[int] = ()
    name: str | None = None
    run: str | None = None
    model_digest: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    reasons: Sequence[str] | None = None
    as_written: bool = False
    states: Sequence[State] = (State.COPIED, State.DONE, State.UNDONE, State.REFUSED, State.ORPHAN)

    def conditions(self, models: Sequence[int]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Conditions of SQL, each with its values. ``models``: numbers of those whose digests begin so."""
        yield f"image_id IS NULL AND state IN ({_marks(self.states)})", tuple(self.states)
        if self.name is not None:
            yield _named(self.name)
        if self.model_digest is not None:
            yield f"model IN ({_marks(models)})", tuple(models)
        if self.reasons is not None:
            yield "reason IS NOT NULL", ()
        if self.reasons:
            yield f"reason IN ({_marks(self.reasons)})", tuple(self.reasons)
        if self.label is not None and not self.or_with_inode:
            yield "label = ?", (self.label,)
        elif self.label is not None:
            inodes = json.dumps([_signed(inode) for inode in self.or_with_inode])
            yield f"(label = ? OR {_FILED_INO} IN (SELECT value FROM json_each(?)))", (self.label, inodes)
        simple = {
            f"run = {_NUMBER}": self.run,
            "time >= ?": None if self.since is None else _instant(self.since),
            "time < ?": None if self.until is None else _instant(self.until),
            "confidence >= ?": self.min_confidence,
            "confidence <= ?": self.max_confidence,
        }
        yield from ((condition, (value,)) for condition, value in simple.items() if value is not None)


def sidecars(db: sqlite3.Connection, image_id: int) -> list[Filing]:
    """List the sidecars that were filed after an image."""
    return [_decode(row) for row in db.execute(f"{_SELECT} WHERE image_id = ? AND state = 'done'", (image_id,))]


def newest(db: sqlite3.Connection, sources: Sequence[Path], since: datetime) -> Filing | None:
    """Find the last image filed from one of these paths (in one folder) since a time, if it is filed and readable."""
    names, folder = [_text(path.name) for path in sources], str(sources[0]).rpartition("/")[0]
    query = f"""{_SELECT} WHERE name IN ({_marks(names)}) AND inbox = {_NUMBER} AND time >= ?
        AND image_id IS NULL ORDER BY id DESC LIMIT 1"""
    row = db.execute(query, (*names, _text(folder), _instant(since))).fetchone()
    filing = None if row is None else _decode(row)
    return filing if filing is not None and filing.state is State.DONE and filing.reason is None else None


def recent(db: sqlite3.Connection, since: datetime, limit: int) -> list[Filing]:
    """List the last images that were moved within a file system since a time, newest first; none was undone."""
    query = f"""{_SELECT} WHERE time >= ? AND state = 'done' AND action = 'move' AND copy_ino IS NULL
        AND image_id IS NULL ORDER BY time DESC, id DESC LIMIT ?"""
    return [_decode(row) for row in db.execute(query, (_instant(since), limit))]


def prune(
    db: sqlite3.Connection, before: datetime, after: Position, limit: int
) -> tuple[Position | None, list[Filing]]:
    """Go through the ``limit`` oldest rows after a position, from before a time; delete those that nothing depends on.

    At the end, texts that no row needs any more are deleted too, where that is worth while.
    Returns the position to go on from, None at the end, and those rows that keep files from being filed again.
    """
    query = f"""{_SELECT_ALSO}, {_REMEMBERED}, state IN ('done', 'undone', 'orphan') FROM filings
        WHERE time < ? AND (time, id) > (?, ?) ORDER BY time, id LIMIT ?"""
    old = [
        (_decode(row), remembered, ended)
        for *row, remembered, ended in db.execute(query, (_instant(before), *after, limit))
    ]
    free = [(row.id,) for row, remembered, ended in old if ended and not remembered]
    db.executemany("DELETE FROM filings WHERE id = ?", free)
    last = old[-1][0] if len(old) == limit else None
    if last is None:
        _forget_texts(db)
    go_on = None if last is None or last.id is None else (_instant(last.time), last.id)
    return go_on, [row for row, remembered, _ in old if remembered]


def _forget_texts(db: sqlite3.Connection) -> None:
    """Delete the texts of rows that are gone, once they may be the most: each upload may come in a folder of its own.

    It looks at all rows: 0.2 s where 100,000 are left and 200,000 texts go.
    """
    (texts,) = db.execute("SELECT count(*) FROM texts").fetchone()
    (half,) = db.execute("SELECT count(*) FROM (SELECT 1 FROM filings LIMIT ?)", (texts // 2,)).fetchone()
    if texts >= FEW_TEXTS and half < texts // 2:
        db.execute(_FORGET_TEXTS)


def history(db: sqlite3.Connection, wanted: Wanted, limit: int | None = None) -> Iterator[Filing]:
    """Yield the wanted rows, newest first."""
    order = "id DESC" if wanted.as_written else "time DESC, id DESC"
    models = [] if wanted.model_digest is None else _models(db, wanted.model_digest)
    conditions, values = zip(*wanted.conditions(models), strict=True)
    query = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
    for row in db.execute(query, (*chain(*values), -1 if limit is None else limit)):
        yield _decode(row)


def _models(db: sqlite3.Connection, beginning: str) -> list[int]:
    """Find the numbers of the texts that begin so. Texts that are no digests do no harm: no model has their number."""
    query = "SELECT id FROM texts WHERE text >= ? AND text < ?"
    return [number for (number,) in db.execute(query, (beginning, beginning + "g"))]


def _named(name: str) -> tuple[str, tuple[Any, ...]]:
    folder, slash, last = name.rpartition("/")
    files = [_text(spelling) for spelling in spellings(last)]
    marks = _marks(files)
    condition, values = f"(name IN ({marks}) OR ({RENAMED} AND filed_name IN ({marks})))", (*files, *files)
    if not slash:
        return condition, values
    ends = [os.fsencode(f"/{spelling}") for spelling in spellings(folder)]
    which = f"IN (SELECT id FROM texts WHERE {' OR '.join([_ENDS] * len(ends))})"
    inbox: list[Any] = [value for end in ends for value in (len(end), end)]
    there = inbox
    if name.startswith("/"):
        which, inbox, there = f"= {_NUMBER}", [_text(folder)], [_text(folder or "/")]
    lies = f"((name IN ({marks}) AND inbox {which}) OR (filed_name IN ({marks}) AND folder {which}))"
    return f"{condition} AND {lies}", (*values, *files, *inbox, *files, *there)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def note(db: sqlite3.Connection, key: str, value: str | None) -> None:
    """Set a note, or with None take it away."""
    if value is None:
        db.execute("DELETE FROM notes WHERE key = ?", (key,))
    else:
        db.execute("INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)", (key, value))


def noted(db: sqlite3.Connection, key: str) -> str | None:
    """Return the value of a note, or None."""
    row = db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def encode(filing: Filing, number: int | None, texts: _Texts) -> tuple[Any, ...]:
    """The values of a row's columns, and its id."""
    identity = filing.identity
    inbox, _, name = str(filing.source).rpartition("/")
    return (
        *_changing(filing),
        texts[filing.run],
        _instant(filing.time),
        texts[inbox],
        _text(name),
        _signed(identity.dev),
        _signed(identity.ino),
        identity.size,
        _signed(identity.mtime_ns),
        None if filing.folder is None else texts[str(filing.folder)],
        filing.label,
        None if filing.confidence is None else float(filing.confidence),
        None if filing.model_digest is None else texts[filing.model_digest],
        filing.reason,
        filing.image_id,
        number,
    )


def _changing(filing: Filing) -> tuple[Any, ...]:
    """The values of the columns that change."""
    return (
        filing.state.value,
        filing.action,
        filing.sha256,
        None if filing.filed_name is None else _text(filing.filed_name),
        None if filing.copy_ino is None else _signed(filing.copy_ino),
        None if filing.detail is None else filing.detail.encode(errors="backslashreplace").decode(),
    )


def _decode(row: Sequence[Any]) -> Filing:
    values = dict(zip(("id", *_COLUMNS), row, strict=True))
    identity = Identity(
        _unsigned(values.pop("dev")), _unsigned(values.pop("ino")), values.pop("size"), _since(values.pop("mtime_ns"))
    )
    inbox, name, folder, filed_name, copy_ino = (
        values.pop(column) for column in ("inbox", "name", "folder", "filed_name", "copy_ino")
    )
    return Filing(
        state=State(values.pop("state")),
        source=Path(f"{os.fsdecode(inbox)}/{os.fsdecode(name)}"),
        identity=identity,
        folder=None if folder is None else Path(os.fsdecode(folder)),
        filed_name=None if filed_name is None else os.fsdecode(filed_name),
        copy_ino=None if copy_ino is None else _unsigned(copy_ino),
        time=_EPOCH + timedelta(microseconds=values.pop("time")),
        model_digest=values.pop("model"),
        **values,
    )


def _text(path: str) -> str | bytes:
    """Give a path or name as text where it is valid UTF-8, else as its bytes."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


@lru_cache(maxsize=1)  # the rows of a batch have one time
def _instant(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _signed(number: int) -> int:
    """SQLite's integers have a sign, inode and device numbers use all 64 bits, and so do times from 2262 on."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _unsigned(number: int) -> int:
    return number % (1 << 64)


def _since(nanoseconds: int) -> int:
    """Undo `_signed` for a time; file systems keep none before 1901."""
    return _EARLIEST + (nanoseconds - _EARLIEST) % (1 << 64)
