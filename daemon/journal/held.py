"""Keep the images that were brought back to an inbox and are held: not filed until they change or are released."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from daemon.files.source import Identity
from daemon.journal.records import TEXT_ID, Texts, as_text, decode_identity, encode_identity, instant, moment

_WRITE = """INSERT OR REPLACE INTO held (time, folder, name, dev, ino, size, mtime_ns, filing)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_SELECT = """SELECT time, (SELECT text FROM texts WHERE id = held.folder), name, dev, ino, size, mtime_ns, filing
    FROM held ORDER BY id"""
_RELEASE = f"""DELETE FROM held WHERE folder = {TEXT_ID} AND name = ?
    AND dev = ? AND ino = ? AND size = ? AND mtime_ns = ?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One image in an inbox that is held. ``filing_id``: the filing that was undone, as long as the journal has it.

    A path is held once: to hold it again, with whatever identity, replaces what was held there.
    """

    path: Path
    identity: Identity
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    filing_id: int | None = None


def read(db: sqlite3.Connection) -> list[Held]:
    """List all held images, in the order in which they were held."""
    return [
        Held(
            path=Path(f"{os.fsdecode(folder)}/{os.fsdecode(name)}"),
            identity=decode_identity(*identity),
            time=moment(time),
            filing_id=filing,
        )
        for time, folder, name, *identity, filing in db.execute(_SELECT)
    ]


def write(db: sqlite3.Connection, held: Sequence[Held]) -> None:
    """Hold images, in the transaction that is open."""
    texts = Texts(db)
    for image in held:
        folder, _, name = str(image.path).rpartition("/")
        place = texts[folder], as_text(name)
        db.execute(_WRITE, (instant(image.time), *place, *encode_identity(image.identity), image.filing_id))


def release(db: sqlite3.Connection, held: Sequence[Held]) -> None:
    """Release images, in the transaction that is open; what is held there with another identity stays held."""
    for image in held:
        folder, _, name = str(image.path).rpartition("/")
        db.execute(_RELEASE, (as_text(folder), as_text(name), *encode_identity(image.identity)))


def detach(db: sqlite3.Connection, filing_ids: Sequence[int]) -> None:
    """Keep what is held although its filing is about to be deleted, in the same transaction."""
    query = "UPDATE held SET filing = NULL WHERE filing IN (SELECT value FROM json_each(?))"
    db.execute(query, (json.dumps(list(filing_ids)),))
