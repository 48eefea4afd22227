"""Find rows of the journal by what people ask for."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from daemon.files.names import spellings
from daemon.journal.records import (
    OF_CLASS,
    SELECT,
    TEXT_ID,
    Filing,
    State,
    as_text,
    decode,
    instant,
    of_class,
    placeholders,
    signed,
)
from daemon.journal.schema import FILED_INO, RENAMED

#: SQL for the end of a path; its values are the number of its bytes, and the bytes: a path need not be valid UTF-8.
ENDS = "substr(CAST(text AS BLOB), -?) = ?"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Conditions for the rows of a history; all that are given must be met.

    ``label`` is the class that the image was taken for, or an inner folder that this class lies in; images with one of
    the inodes ``or_with_inode`` count, too.
    ``name`` is that of the image in the inbox or where it was filed, or with a slash its path there: absolute, or
    its end.
    ``model_digest`` may be its beginning. ``since`` is the first instant, ``until`` the first one no longer wanted.
    ``reasons``: unreadable images of one of these kinds; an empty sequence means of any. ``as_written``: the last one
    that was written comes first, whatever the clock said; else the one of the latest time. ``before_id``: only rows
    that were written before that one. ``ids``: only these rows. ``without_left_duplicates``: not those of images that
    were left since they are duplicates.
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
    before_id: int | None = None
    ids: Sequence[int] | None = None
    without_left_duplicates: bool = False
    states: Sequence[State] = (State.COPIED, State.DONE, State.UNDONE, State.REFUSED, State.LEFT, State.ORPHAN)

    def conditions(self, models: Sequence[int], *, has_inside: bool) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Conditions of SQL, each with its values.

        ``models``: ids of the digests that begin with ``model_digest``. ``has_inside``: ``label`` has classes in its
        folder; without them, rows are read in the order of the index.
        """
        yield f"image_id IS NULL AND state IN ({placeholders(self.states)})", tuple(self.states)
        if self.name is not None:
            yield _named(self.name)
        if self.without_left_duplicates:
            yield "(state <> 'left' OR duplicate_of IS NULL)", ()
        if self.model_digest is not None:
            yield f"model IN ({placeholders(models)})", tuple(models)
        if self.reasons is not None:
            yield "reason IS NOT NULL", ()
        if self.ids is not None:
            yield "id IN (SELECT value FROM json_each(?))", (json.dumps(list(self.ids)),)
        if self.reasons:
            yield f"reason IN ({placeholders(self.reasons)})", tuple(self.reasons)
        if self.label is not None:
            is_of_class = OF_CLASS if has_inside else "label = ?"
            values: tuple[str, ...] = of_class(self.label) if has_inside else (self.label,)
            if self.or_with_inode:
                is_of_class = f"({is_of_class} OR {FILED_INO} IN (SELECT value FROM json_each(?)))"
                values = (*values, json.dumps([signed(inode) for inode in self.or_with_inode]))
            yield is_of_class, values
        simple = {
            f"run = {TEXT_ID}": self.run,
            "time >= ?": None if self.since is None else instant(self.since),
            "time < ?": None if self.until is None else instant(self.until),
            "confidence >= ?": self.min_confidence,
            "confidence <= ?": self.max_confidence,
            "id < ?": self.before_id,
        }
        yield from ((condition, (value,)) for condition, value in simple.items() if value is not None)


def history(db: sqlite3.Connection, wanted: Wanted, limit: int | None = None) -> Iterator[Filing]:
    """Yield the wanted rows, newest first."""
    order = "id DESC" if wanted.as_written else "time DESC, id DESC"
    models = [] if wanted.model_digest is None else _models(db, wanted.model_digest)
    has_inside = wanted.label is not None and _has_inside(db, wanted.label)
    conditions, values = zip(*wanted.conditions(models, has_inside=has_inside), strict=True)
    query = f"{SELECT} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
    for row in db.execute(query, (*chain(*values), -1 if limit is None else limit)):
        yield decode(row)


def _has_inside(db: sqlite3.Connection, label: str) -> bool:
    """Whether something was filed as a class in the folder of that name."""
    inside = of_class(label)[1:]
    return db.execute("SELECT 1 FROM filings WHERE label > ? AND label < ? LIMIT 1", inside).fetchone() is not None


def _models(db: sqlite3.Connection, beginning: str) -> list[int]:
    """Find the ids of texts that begin with this; texts other than digests do no harm: no model has their id."""
    query = "SELECT id FROM texts WHERE text >= ? AND text < ?"
    return [number for (number,) in db.execute(query, (beginning, beginning + "g"))]


def _named(name: str) -> tuple[str, tuple[Any, ...]]:
    folder, slash, last = name.rpartition("/")
    files = [as_text(spelling) for spelling in spellings(last)]
    any_name = placeholders(files)
    condition, values = f"(name IN ({any_name}) OR ({RENAMED} AND filed_name IN ({any_name})))", (*files, *files)
    if not slash:
        return condition, values
    ends = [os.fsencode(f"/{spelling}") for spelling in spellings(folder)]
    which = f"IN (SELECT id FROM texts WHERE {' OR '.join([ENDS] * len(ends))})"
    inbox: list[Any] = [value for end in ends for value in (len(end), end)]
    there = inbox
    if name.startswith("/"):
        which, inbox, there = f"= {TEXT_ID}", [as_text(folder)], [as_text(folder or "/")]
    lies = f"((name IN ({any_name}) AND inbox {which}) OR (filed_name IN ({any_name}) AND folder {which}))"
    return f"{condition} AND {lies}", (*values, *files, *inbox, *files, *there)
