"""Keep what people said of images: labels, which outlive the filings that they correct.

The newest label of a content wins. A label is never deleted: one that was taken back is marked as forgotten, so that
an image which still lies in another class folder is not taken for a new correction.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from daemon.files.names import spellings
from daemon.files.source import Identity
from daemon.journal.history import ENDS
from daemon.journal.records import (
    OF_CLASS,
    TEXT_ID,
    Filing,
    State,
    Texts,
    as_text,
    decode_identity,
    encode_identity,
    instant,
    moment,
    of_class,
    placeholders,
)

_COLUMNS = ("sha256", "label", "how", "time", "folder", "name", "dev", "ino", "size", "mtime_ns", "filing", "forgotten")
_WRITE = f"INSERT OR REPLACE INTO labels (id, {', '.join(_COLUMNS)}) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
_SELECT = f"""SELECT {
    ", ".join(("id", *_COLUMNS)).replace("folder", "(SELECT text FROM texts WHERE id = labels.folder)")
} FROM labels"""
#: The label is not forgotten, and no newer one of the same content holds.
_NEWEST = """NOT forgotten AND NOT EXISTS (SELECT 1 FROM labels AS newer
    WHERE newer.sha256 = labels.sha256 AND newer.forgotten = 0 AND newer.id > labels.id)"""
#: To take back the newest label is not to return to the one before.
_FORGET = """UPDATE labels SET forgotten = 1 WHERE forgotten = 0 AND id IN (
    SELECT older.id FROM labels AS named JOIN labels AS older ON older.sha256 = named.sha256 AND older.id <= named.id
    WHERE named.id IN (SELECT value FROM json_each(?)))"""
_OF_FILINGS = "filing IN (SELECT value FROM json_each(?))"
#: Labels that are read at once, so that nothing is read while the caller writes.
_PAGE = 500


class How(StrEnum):
    """How a person said it."""

    MOVED = "moved"  # moved the filed image to another class folder
    REVIEWED = "reviewed"  # chose or confirmed a class on the review page
    RELABELLED = "relabelled"  # gave the command relabel
    PLACED = "placed"  # put an image that was never filed into a class folder
    AUDITED = "audited"  # judged a filed image that was drawn at random


@dataclass(slots=True, kw_only=True)
class Label:
    """What a person said of an image; ``label`` None: it is none of the classes. ``id`` is None until it is written.

    ``path`` and ``identity`` are those of the image then. ``filing``: the filing it is about, where that is written
    together with the label and has no ``filing_id`` yet. When the filing is undone, the label is forgotten.
    """

    sha256: str
    label: str | None
    how: How
    path: Path
    identity: Identity
    filing_id: int | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    forgotten: bool = False
    id: int | None = None
    filing: Filing | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class WantedLabels:
    """Conditions for labels; all that are given must be met.

    ``label``: a class, or an inner folder with classes in it.
    ``is_negative``: whether it says that an image is none of the classes. ``path`` is the image's name, or with a slash
    its path, absolute or the end of one. ``sha256`` and ``filings``: of these contents, about these filings.
    ``ids``: only these. ``every``: also those that are forgotten or no longer the newest of their content.
    """

    label: str | None = None
    is_negative: bool | None = None
    how: Sequence[How] | None = None
    since: datetime | None = None
    path: str | None = None
    sha256: Sequence[str] | None = None
    filings: Sequence[int] | None = None
    ids: Sequence[int] | None = None
    every: bool = False

    def conditions(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Conditions of SQL, each with its values."""
        if not self.every:
            yield _NEWEST, ()
        if self.label is not None:
            yield OF_CLASS, of_class(self.label)
        if self.is_negative is not None:
            yield f"label IS {'' if self.is_negative else 'NOT '}NULL", ()
        if self.how is not None:
            yield f"how IN ({placeholders(self.how)})", tuple(how.value for how in self.how)
        if self.since is not None:
            yield "time >= ?", (instant(self.since),)
        if self.path is not None:
            yield from _lies(self.path)
        if self.sha256 is not None:
            yield "sha256 IN (SELECT value FROM json_each(?))", (json.dumps(self.sha256),)
        if self.ids is not None:
            yield "id IN (SELECT value FROM json_each(?))", (json.dumps(list(self.ids)),)
        if self.filings is not None:
            yield _OF_FILINGS, (json.dumps(self.filings),)


def _lies(path: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    folder, slash, name = path.rpartition("/")
    names = [as_text(spelling) for spelling in spellings(name)]
    yield f"name IN ({placeholders(names)})", tuple(names)
    if path.startswith("/"):
        yield f"folder = {TEXT_ID}", (as_text(folder),)
    elif slash:
        ends = [os.fsencode(f"/{spelling}") for spelling in spellings(folder)]
        condition = " OR ".join([ENDS] * len(ends))
        yield (
            f"(SELECT {condition} FROM texts WHERE id = labels.folder)",
            tuple(value for end in ends for value in (len(end), end)),
        )


def read(db: sqlite3.Connection, wanted: WantedLabels, before: int | None, limit: int) -> list[Label]:
    """List the wanted labels, the last one that was written first; ``before``: only those with a smaller id."""
    conditions = list(wanted.conditions())
    if before is not None:
        conditions.append(("id < ?", (before,)))
    where = f"WHERE {' AND '.join(condition for condition, _ in conditions)}" if conditions else ""
    values = [value for _, more in conditions for value in more]
    return [_decode(row) for row in db.execute(f"{_SELECT} {where} ORDER BY id DESC LIMIT ?", (*values, limit))]


def in_pages(page: Callable[[int | None, int], list[Label]]) -> Iterator[Label]:
    """Yield all labels, however many; ``page`` lists some with a smaller id, as `read` does."""
    before: int | None = None
    while rows := page(before, _PAGE):
        yield from rows
        before = rows[-1].id


def write(db: sqlite3.Connection, labels: Sequence[Label], row_ids: Mapping[int, int | None]) -> list[int | None]:
    """Insert labels, or replace those that have an id, in the transaction that is open; returns their ids.

    ``row_ids``: the row of each `Filing` object that was just written, by the object's ``id()``.
    """
    texts = Texts(db)
    return [db.execute(_WRITE, _encode(label, texts, row_ids)).lastrowid for label in labels]


def forget(db: sqlite3.Connection, ids: Collection[int]) -> None:
    """Mark labels as forgotten, and all older ones of the same contents, in the transaction that is open."""
    db.execute(_FORGET, (json.dumps(list(ids)),))


def follow(db: sqlite3.Connection, filings: Sequence[Filing]) -> None:
    """Forget the labels of filings that are about to become UNDONE, and delete those of filings that came to nothing.

    To be called before the rows are written, in the same transaction. A VOID row that was done is being pruned: its
    labels stay.
    """
    undone = [filing.id for filing in filings if filing.state is State.UNDONE and filing.id is not None]
    void = [filing.id for filing in filings if filing.state is State.VOID and filing.id is not None]
    if undone:
        db.execute(f"UPDATE labels SET forgotten = 1 WHERE {_OF_FILINGS}", (json.dumps(undone),))
    if void:
        interrupted = "(SELECT state IN ('intent', 'copied') FROM filings WHERE id = labels.filing)"
        db.execute(f"DELETE FROM labels WHERE {_OF_FILINGS} AND {interrupted}", (json.dumps(void),))
        detach(db, void)


def detach(db: sqlite3.Connection, filing_ids: Sequence[int]) -> None:
    """Keep the labels of filings that are about to be deleted, in the same transaction."""
    db.execute(f"UPDATE labels SET filing = NULL WHERE {_OF_FILINGS}", (json.dumps(list(filing_ids)),))


def _encode(label: Label, texts: Texts, row_ids: Mapping[int, int | None]) -> tuple[Any, ...]:
    folder, _, name = str(label.path).rpartition("/")
    return (
        label.id,
        label.sha256,
        label.label,
        label.how.value,
        instant(label.time),
        texts[folder],
        as_text(name),
        *encode_identity(label.identity),
        label.filing_id if label.filing is None else row_ids.get(id(label.filing), label.filing.id),
        int(label.forgotten),
    )


def _decode(row: Sequence[Any]) -> Label:
    values = dict(zip(("id", *_COLUMNS), row, strict=True))
    folder, name = os.fsdecode(values.pop("folder")), os.fsdecode(values.pop("name"))
    return Label(
        how=How(values.pop("how")),
        time=moment(values.pop("time")),
        path=Path(f"{folder}/{name}"),
        identity=decode_identity(*(values.pop(column) for column in ("dev", "ino", "size", "mtime_ns"))),
        filing_id=values.pop("filing"),
        forgotten=bool(values.pop("forgotten")),
        **values,
    )
