"""Read the journal in another thread than the one that writes it, again and again."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from daemon.files.names import spellings
from daemon.journal import history, opening, pile, records
from daemon.journal import labels as label_rows
from daemon.journal.history import Wanted
from daemon.journal.labels import Label, WantedLabels
from daemon.journal.pile import PiledImage
from daemon.journal.records import SELECT, TEXT_ID, Filing, as_text, decode, placeholders, signed
from daemon.journal.schema import FILED_INO, RENAMED

#: The newest filing of each file: the one with the greatest id. SQLite takes ``folder`` from that row, too.
_LAST = f"""SELECT {FILED_INO} AS number, folder, max(id) FROM filings
    WHERE state = 'done' AND {FILED_INO} IN (SELECT value FROM json_each(?)) AND image_id IS NULL GROUP BY number"""
_ALL_BITS = (1 << 64) - 1
_ALIKE = f"""{SELECT} WHERE (name IN ({{names}}) OR ({RENAMED} AND filed_name IN ({{names}})))
    AND state IN ('intent', 'copied', 'done', 'orphan') AND image_id IS NULL
    AND ((filed_name = ? AND folder = {TEXT_ID}) OR (size = ? AND sha256 = ?)) ORDER BY id DESC LIMIT 20"""


class JournalReader:
    """Keeps the file open, and opens it anew when another one is in its place. Each method raises sqlite3.Error.

    It also raises `UserError` for a journal of a newer version of this program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def filed_with_inode(self, inodes: Collection[int]) -> list[Filing]:
        """See `records.filed_with_inode`."""
        return records.filed_with_inode(self._opened(), inodes)

    def last_filed(self, inodes: Collection[int]) -> dict[int, tuple[int, str | None]]:
        """Map inodes to the newest filing of an image with that inode, and its folder; others are left out."""
        db = self._opened()
        rows = db.execute(_LAST, (json.dumps([*map(signed, inodes)]),)).fetchall()
        ids = {folder for _, folder, _ in rows if folder is not None}
        query = f"SELECT id, text FROM texts WHERE id IN ({placeholders([*ids])})"
        folders = {number: os.fsdecode(text) for number, text in db.execute(query, [*ids])}
        return {number & _ALL_BITS: (filing, folders.get(folder)) for number, folder, filing in rows}

    def labelled(self, filings: Collection[int]) -> set[int]:
        """Return which of some filings have a label."""
        query = "SELECT filing FROM labels WHERE NOT forgotten AND filing IN (SELECT value FROM json_each(?))"
        return {int(filing) for (filing,) in self._opened().execute(query, (json.dumps([*filings]),))}

    def alike(self, path: Path, size: int, sha256: str) -> list[Filing]:
        """List filings that are not undone, newest first: those to a path, and those of the same name and content."""
        names = [as_text(spelling) for spelling in spellings(path.name)]
        query = _ALIKE.format(names=placeholders(names))
        values = (*names, *names, as_text(path.name), as_text(str(path.parent)), size, sha256)
        return [decode(row) for row in self._opened().execute(query, values)]

    def labels(self, wanted: WantedLabels) -> Iterator[Label]:
        """Yield labels, the last one that was written first; the journal may be written meanwhile."""
        return label_rows.in_pages(lambda before, limit: label_rows.read(self._opened(), wanted, before, limit))

    def history(self, wanted: Wanted, limit: int) -> list[Filing]:
        """See `history.history`."""
        return list(history.history(self._opened(), wanted, limit))

    def undecided(self, folder: Path) -> list[PiledImage]:
        """See `pile.undecided`."""
        return pile.undecided(self._opened(), str(folder))

    def of_class(self, label: str, folder: Path, *, after: int | None, least_sure: bool, limit: int) -> list[Filing]:
        """See `pile.of_class`."""
        return pile.of_class(self._opened(), label, str(folder), after=after, least_sure=least_sure, limit=limit)

    def filed_by_model(self, others: Path, since: datetime, until: datetime) -> list[tuple[int, str]]:
        """See `pile.filed_by_model`."""
        return pile.filed_by_model(self._opened(), str(others), since, until)

    def left_unsure(self, others: Path, since: datetime, until: datetime) -> list[int]:
        """See `pile.left_unsure`."""
        return pile.left_unsure(self._opened(), str(others), since, until)

    def counts_by_class(self) -> dict[tuple[str, Path], int]:
        """See `pile.counts_by_class`."""
        return pile.counts_by_class(self._opened())

    def counts_of_tagged(self) -> dict[tuple[str, Path], int]:
        """See `pile.counts_of_tagged`."""
        return pile.counts_of_tagged(self._opened())

    def counts_by_reason(self) -> dict[str, int]:
        """See `pile.counts_by_reason`."""
        return pile.counts_by_reason(self._opened())

    def state(self) -> tuple[object, ...]:
        """Return what changes with every change of the journal."""
        (version,) = self._opened().execute("PRAGMA data_version").fetchone()
        return self._file, version

    def _opened(self) -> sqlite3.Connection:
        try:
            status = self._path.stat()
            file = status.st_dev, status.st_ino
        except OSError:
            file = None
        if file != self._file:
            self.close()
        if self._db is None:
            self._db, self._file = opening.connect_to_read(self._path), file
        return self._db
