"""Rows of the journal: one for each filing, and a few notes."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from daemon.files.source import Identity
from daemon.journal.schema import CONTENT, FILED_INO

#: What changes while an image is filed; the indexes of other columns need not be written again.
_CHANGING = ("state", "action", "sha256", "filed_name", "copy_ino", "detail")
_COLUMNS = (*_CHANGING, "run", "time", "inbox", "name", "dev", "ino", "size", "mtime_ns", "folder", "label",
            "confidence", "model", "reason", "image_id", "duplicate_of")  # fmt: skip
#: The columns that hold the id of a text. ``inbox`` is that of the folder that the image came from: one inside an
#: inbox, or for `resort` and `undo` a class folder.
_TEXT_COLUMNS = frozenset({"run", "inbox", "folder", "model"})
_INSERT = f"INSERT INTO filings ({', '.join(_COLUMNS)}, id) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
_UPDATE = f"UPDATE filings SET {', '.join(f'{column} = ?' for column in _CHANGING)} WHERE id = ?"
_FINISH = "UPDATE filings SET state = 'done' WHERE id IN ({})"
_READ = [
    f"(SELECT text FROM texts WHERE id = filings.{column})" if column in _TEXT_COLUMNS else column
    for column in _COLUMNS
]
#: Without FROM, so that columns can be added.
SELECT_COLUMNS = f"SELECT id, {', '.join(_READ)}"
SELECT = f"{SELECT_COLUMNS} FROM filings"
#: The id of a given text; NULL, which is equal to nothing, where no row has it.
TEXT_ID = "(SELECT id FROM texts WHERE text = ?)"
#: A class, or those in the folder of that name; for the values see `of_class`.
OF_CLASS = "(label = ? OR (label > ? AND label < ?))"
#: What keeps a file in the inbox from being filed again: it was filed or refused, or left there.
_FILED = "(state = 'refused' OR (state = 'done' AND action IN ('copy', 'link', 'tag')))"
_FILED_OR_LEFT = f"({_FILED} OR (state = 'left' AND duplicate_of IS NULL))"
REMEMBERED = f"({_FILED} OR state = 'left')"
_SAME_PATH = "(name = :name AND inbox = (SELECT id FROM texts WHERE text = :inbox))"
_SEEN_BEFORE = f"""
SELECT 1 FROM filings WHERE mtime_ns = :mtime_ns AND size = :size AND action <> 'move'
    AND ((ino = :ino AND (dev = :dev OR {_SAME_PATH})) OR ({_SAME_PATH} AND sha256 = :sha256))
    AND {{condition}} LIMIT 1
"""

#: At most 1000 rows of a name are read: some cameras give every picture the same one.
_SAME_PATH_BY_CONTENT = f"""
SELECT id, sha256 FROM (SELECT * FROM filings WHERE name = :name ORDER BY time DESC LIMIT 1000)
    WHERE size = :size AND sha256 IS NOT NULL AND {_FILED}
    AND inbox = (SELECT id FROM texts WHERE text = :inbox)
"""
#: What was filed keeps its inode; that of a link is the one that the original had.
_TOUCH = """UPDATE filings SET copy_ino = iif(action = 'link', coalesce(copy_ino, ino), copy_ino),
    dev = ?, ino = ?, mtime_ns = ? WHERE id = ?"""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The first time that ext4 and XFS keep, in 1901, in nanoseconds since 1970; what they keep has 64 bits from there on.
_EARLIEST = -(1 << 31) * 10**9


class State(StrEnum):
    """Progress of a filing."""

    INTENT = "intent"  # about to be done; the image is in the inbox
    COPIED = "copied"  # the copy is complete and durable; the original is about to go
    DONE = "done"
    UNDONE = "undone"  # moved back to where it came from; or its copy is removed, or its refusal forgotten
    REFUSED = "refused"  # unreadable, and left where it is because images are not to be moved
    LEFT = "left"  # left where it is, by the rule of its class, or since it is a duplicate of what was filed before
    ORPHAN = "orphan"  # after a crash, found neither at its source nor at its destination
    VOID = "void"  # came to nothing: writing it takes the row away


@dataclass(slots=True, kw_only=True)
class Filing:
    """One image, filed or being filed; ``id`` is None until it is written.

    It goes to ``folder`` as ``filed_name``; they are None where no place was chosen. An image that is tagged goes where
    it is; one that gets no tag, since a model was not sure, has the folder of the others and no name.
    ``copy_ino`` is the inode of the copy, where one was made. ``reason`` is None except for unreadable images.
    ``image_id``: this is a sidecar, and that is the filing of its image. ``duplicate_of``: the filing of an image with
    the same content that was there when this one came; the journal may have forgotten it since.
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
    duplicate_of: int | None = None
    run: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None

    @property
    def destination(self) -> Path | None:
        """Return where the image goes, or lies."""
        return None if self.folder is None or self.filed_name is None else self.folder / self.filed_name

    @property
    def place(self) -> Path | None:
        """Return where the image lies by this filing: its destination, or its source if it was tagged there."""
        return self.source if self.action == "tag" else self.destination

    @property
    def filed_ino(self) -> int:
        """Return the inode of what was put there: the copy's, else the image's own."""
        return self.identity.ino if self.copy_ino is None else self.copy_ino


def new_run() -> str:
    """Return a unique name for a run."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def write(db: sqlite3.Connection, filings: Sequence[Filing]) -> Sequence[int | None]:
    """Insert, update or (VOID) delete rows in the transaction that is open; returns their ids.

    Of a row that becomes DONE only the state is updated: all else must be written already.
    """
    if all(filing.id is None for filing in filings):
        return _insert(db, filings)
    done = [filing.id for filing in filings if filing.state is State.DONE and filing.id is not None]
    if not done or db.execute(_FINISH.format(placeholders(done)), done).rowcount < len(done):
        return [write_one(db, filing) for filing in filings]
    finished = set(done)
    return [filing.id if filing.id in finished else write_one(db, filing) for filing in filings]


def _insert(db: sqlite3.Connection, filings: Sequence[Filing]) -> range:
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM filings").fetchone()
    ids = range(last + 1, last + 1 + len(filings))
    texts = Texts(db)
    db.executemany(_INSERT, [encode(filing, row_id, texts) for filing, row_id in zip(filings, ids, strict=True)])
    return ids


class Texts(dict[str, int]):
    """Maps texts to their ids; a new text gets one in the transaction that is open."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __missing__(self, text: str) -> int:
        value = as_text(text)
        self._db.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (value,))
        ((text_id,),) = self._db.execute("SELECT id FROM texts WHERE text = ?", (value,))
        self[text] = int(text_id)
        return self[text]


def write_one(db: sqlite3.Connection, filing: Filing) -> int | None:
    """Insert, update or (VOID) delete one row in the transaction that is open; returns its id."""
    if filing.state is State.VOID:
        db.execute("DELETE FROM filings WHERE id = ?", (filing.id,))
        return None
    if filing.id is not None and db.execute(_UPDATE, (*_changing(filing), filing.id)).rowcount:
        return filing.id
    # A row that has an id but is not there was written to a journal that has been set aside since.
    return db.execute(_INSERT, encode(filing, filing.id, Texts(db))).lastrowid


def interrupted(db: sqlite3.Connection) -> list[Filing]:
    """List the rows that a crash may have interrupted, oldest first."""
    rows = db.execute(f"{SELECT} WHERE state IN ('intent', 'copied') ORDER BY id")
    return [decode(row) for row in rows]


def filed_before(
    db: sqlite3.Connection, identity: Identity, source: Path, sha256: str | None, *, or_left: bool = False
) -> bool:
    """Whether the file was copied, linked or refused in this state; ``or_left``: or left by the rule of its class.

    Device numbers may change when the machine starts anew: the same path counts as much as the same device. On some
    network file systems inode numbers do so too: the content (if given) under the same path counts as much as they.
    """
    return _seen_before(db, identity, source, sha256, _FILED_OR_LEFT if or_left else _FILED)


def left_before(db: sqlite3.Connection, identity: Identity, source: Path, sha256: str | None) -> bool:
    """Whether the file was left as a duplicate in this state; the same counts as for `filed_before`."""
    return _seen_before(db, identity, source, sha256, "state = 'left' AND duplicate_of IS NOT NULL")


def _seen_before(db: sqlite3.Connection, identity: Identity, source: Path, sha256: str | None, condition: str) -> bool:
    folder, _, name = str(source).rpartition("/")
    values = {
        "mtime_ns": signed(identity.mtime_ns),
        "size": identity.size,
        "ino": signed(identity.ino),
        "dev": signed(identity.dev),
        "inbox": as_text(folder),
        "name": as_text(name),
        "sha256": sha256,
    }
    return db.execute(_SEEN_BEFORE.format(condition=condition), values).fetchone() is not None


def filed_with_inode(db: sqlite3.Connection, inodes: Collection[int]) -> list[Filing]:
    """List the filings that are done and put a file with one of these inodes there, newest first; sidecars too.

    The file may be another one by now, with a number that became free, or lie on another file system: ask
    `filing.identity`.
    """
    numbers = json.dumps([signed(inode) for inode in inodes])
    query = f"{SELECT} WHERE state = 'done' AND {FILED_INO} IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
    return [decode(row) for row in db.execute(query, (numbers,))]


def filed_with_content(db: sqlite3.Connection, sha256: str, limit: int) -> list[Filing]:
    """List the newest filings of readable images of this content that are done, duplicates among them.

    The plus signs keep SQLite from putting the hash in place of the column, and from reading rows in their order: then
    it would not use the index.
    """
    query = f"""{SELECT} WHERE {CONTENT} = :beginning AND state = 'done' AND +sha256 = :sha256
        AND image_id IS NULL AND reason IS NULL ORDER BY +id DESC LIMIT :limit"""
    return [decode(row) for row in db.execute(query, {"beginning": sha256[:16], "sha256": sha256, "limit": limit})]


def contents_filed(db: sqlite3.Connection, source: Path, size: int) -> dict[str, int]:
    """Map the sha256 of what was copied, linked or refused from a path with this size to the ids of the rows."""
    folder, _, name = str(source).rpartition("/")
    values = {"inbox": as_text(folder), "name": as_text(name), "size": size}
    return {sha256: row_id for row_id, sha256 in db.execute(_SAME_PATH_BY_CONTENT, values)}


def touch(db: sqlite3.Connection, row_id: int, identity: Identity) -> None:
    """Remember that a file which stays in the inbox has another time or inode now, and the same content."""
    db.execute(_TOUCH, (signed(identity.dev), signed(identity.ino), signed(identity.mtime_ns), row_id))


def sidecars(db: sqlite3.Connection, image_id: int) -> list[Filing]:
    """List the sidecars that were filed after an image."""
    return [decode(row) for row in db.execute(f"{SELECT} WHERE image_id = ? AND state = 'done'", (image_id,))]


def last_filed_from(db: sqlite3.Connection, sources: Sequence[Path], since: datetime) -> Filing | None:
    """Find the last image filed from one of these paths (in one folder) since a time, if it is filed and readable."""
    names, folder = [as_text(path.name) for path in sources], str(sources[0]).rpartition("/")[0]
    query = f"""{SELECT} WHERE name IN ({placeholders(names)}) AND inbox = {TEXT_ID} AND time >= ?
        AND image_id IS NULL ORDER BY id DESC LIMIT 1"""
    row = db.execute(query, (*names, as_text(folder), instant(since))).fetchone()
    filing = None if row is None else decode(row)
    return filing if filing is not None and filing.state is State.DONE and filing.reason is None else None


def recent_renames(db: sqlite3.Connection, since: datetime, limit: int) -> list[Filing]:
    """List the last images that were renamed into the output since a time, newest first; none was undone."""
    query = f"""{SELECT} WHERE time >= ? AND state = 'done' AND action = 'move' AND copy_ino IS NULL
        AND image_id IS NULL ORDER BY time DESC, id DESC LIMIT ?"""
    return [decode(row) for row in db.execute(query, (instant(since), limit))]


def of_class(label: str) -> tuple[str, str, str]:
    """Return the values for `OF_CLASS`: what is inside begins with the name and a slash, which "0" comes after."""
    return label, f"{label}/", f"{label}0"


def placeholders(values: Sequence[object]) -> str:
    """Return a question mark of SQL for each value."""
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


def encode(filing: Filing, row_id: int | None, texts: Texts) -> tuple[Any, ...]:
    """Return the values of a row's columns, and its id."""
    source_folder, _, name = str(filing.source).rpartition("/")
    return (
        *_changing(filing),
        texts[filing.run],
        instant(filing.time),
        texts[source_folder],
        as_text(name),
        *encode_identity(filing.identity),
        None if filing.folder is None else texts[str(filing.folder)],
        filing.label,
        None if filing.confidence is None else float(filing.confidence),
        None if filing.model_digest is None else texts[filing.model_digest],
        filing.reason,
        filing.image_id,
        filing.duplicate_of,
        row_id,
    )


def _changing(filing: Filing) -> tuple[Any, ...]:
    """Return the values of the columns that change."""
    return (
        filing.state.value,
        filing.action,
        filing.sha256,
        None if filing.filed_name is None else as_text(filing.filed_name),
        None if filing.copy_ino is None else signed(filing.copy_ino),
        None if filing.detail is None else filing.detail.encode(errors="backslashreplace").decode(),
    )


def decode(row: Sequence[Any]) -> Filing:
    """Make a filing of what ``SELECT`` yields."""
    values = dict(zip(("id", *_COLUMNS), row, strict=True))
    identity = decode_identity(*(values.pop(column) for column in ("dev", "ino", "size", "mtime_ns")))
    source_folder, name, folder, filed_name, copy_ino = (
        values.pop(column) for column in ("inbox", "name", "folder", "filed_name", "copy_ino")
    )
    return Filing(
        state=State(values.pop("state")),
        source=Path(f"{os.fsdecode(source_folder)}/{os.fsdecode(name)}"),
        identity=identity,
        folder=None if folder is None else Path(os.fsdecode(folder)),
        filed_name=None if filed_name is None else os.fsdecode(filed_name),
        copy_ino=None if copy_ino is None else _unsigned(copy_ino),
        time=moment(values.pop("time")),
        model_digest=values.pop("model"),
        **values,
    )


def encode_identity(identity: Identity) -> tuple[int, int, int, int]:
    """Return the values of the columns ``dev``, ``ino``, ``size`` and ``mtime_ns``."""
    return signed(identity.dev), signed(identity.ino), identity.size, signed(identity.mtime_ns)


def decode_identity(dev: int, ino: int, size: int, mtime_ns: int) -> Identity:
    """Make an identity of the values of its columns."""
    return Identity(_unsigned(dev), _unsigned(ino), size, _since(mtime_ns))


def as_text(path: str) -> str | bytes:
    """Give a path or name as text where it is valid UTF-8, else as its bytes."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


@lru_cache(maxsize=1)  # the rows of a batch have one time
def instant(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """Undo `instant`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def signed(number: int) -> int:
    """SQLite's integers have a sign, inode and device numbers use all 64 bits, and so do times from 2262 on."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _unsigned(number: int) -> int:
    return number % (1 << 64)


def _since(nanoseconds: int) -> int:
    """Undo `signed` for a time; file systems keep none before 1901."""
    return _EARLIEST + (nanoseconds - _EARLIEST) % (1 << 64)
