"""Read labels from the journals in the state folder of a daemon, which may run meanwhile; nothing is written.

The daemon's own code is not used, since the trainer goes without it; a test holds both together.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.text.language import tr

_FILE_NAME = "journal.sqlite"
#: The versions of a journal whose labels can be read; one that is older has none.
_FIRST_VERSION, _VERSION = 5, 6
_WAIT_S = 5.0
_LABELS = """SELECT sha256, label, how, time, (SELECT text FROM texts WHERE id = labels.folder), name, ino
    FROM labels WHERE NOT forgotten AND NOT EXISTS (SELECT 1 FROM labels AS newer
    WHERE newer.sha256 = labels.sha256 AND newer.forgotten = 0 AND newer.id > labels.id) ORDER BY id"""
#: Where filings have put an image, the last one first.
_FILED = """SELECT (SELECT text FROM texts WHERE id = filings.folder), filed_name FROM filings
    WHERE coalesce(copy_ino, ino) = ? AND state = 'done' AND sha256 = ? ORDER BY id DESC"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def journals(folder: Path) -> list[Path]:
    """List the journals in a folder: that of one output, or those in the state folder of a daemon."""
    own = folder / _FILE_NAME
    return [own] if own.is_file() else sorted(folder.glob(f"*/{_FILE_NAME}"))


def read_journals(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the labels that hold, the oldest first, with the keys of `trainer.learning.labels.GivenLabel`.

    Raises `UserError` also where several journals have labels: those of different outputs may contradict each other.
    """
    by_file = {file: _read(file) for file in files}
    with_labels = [file for file, labels in by_file.items() if labels]
    if len(with_labels) > 1:
        raise UserError(
            tr(
                "there are labels of several outputs: give --labels one of these folders: {folders}",
                folders=", ".join(str(file.parent) for file in with_labels),
            )
        )
    return [label for labels in by_file.values() for label in labels]


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", timeout=_WAIT_S, uri=True)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise UserError(
                    tr("the journal {file} is of a newer version of this program: install that version", file=file)
                )
            if version < _FIRST_VERSION:
                return []
            return [_item(database, *row) for row in database.execute(_LABELS)]
    except (sqlite3.Error, ValueError, OverflowError, TypeError) as error:
        raise UserError(
            tr(
                "the journal {file} cannot be read ({error}): give --labels what imagesortd labels --json prints",
                file=file,
                error=error,
            )
        ) from error


def _item(
    database: sqlite3.Connection,
    sha256: str,
    label: str | None,
    how: str,
    time: int,
    folder: Any,
    name: Any,
    inode: int,
) -> dict[str, Any]:
    path = _path(folder, name)
    item = {"path": path, "sha256": sha256, "label": label, "how": how, "time": _EPOCH + timedelta(microseconds=time)}
    if Path(path).exists():
        return item
    places = (_path(*row) for row in database.execute(_FILED, (inode, sha256)) if None not in row)
    now = next((place for place in places if Path(place).exists()), None)
    return item | {"now": now}


def _path(folder: str | bytes, name: str | bytes) -> str:
    return f"{os.fsdecode(folder)}/{os.fsdecode(name)}"
