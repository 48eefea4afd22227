"""Journals that earlier versions of this program made, by their own code, put where a test can work with them.

``versions/N.db`` is a journal of version N, and ``versions/N.json`` says what was in it and which files there were. The
script ``versions/make.py`` made them, in checkouts of the last commit of each version.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.files.source import Identity
from daemon.journal import opening, records
from daemon.journal.records import Filing, State
from tests.daemon.journal.versions.make import FAR, ROOT
from tests.filing_desk import Desk

VERSIONS = (1, 2, 3, 4, 5)
_STORED = Path(__file__).with_name("versions")
_MTIME = 1_600_000_000
#: The columns that hold paths, in each version.
_PATHS = {
    **dict.fromkeys((1, 2, 3), (("filings", "source"), ("filings", "destination"))),
    **dict.fromkeys((4, 5), (("texts", "text"),)),
}


@dataclass
class Era:
    """A journal of an earlier version, its files below a folder of the test, and what is to be read in it."""

    version: int
    desk: Desk
    rows: list[Filing]
    notes: dict[str, str]
    contents: dict[Path, bytes]

    @property
    def path(self) -> Path:
        return self.desk.journal_path

    @property
    def copy(self) -> Path:
        """Where a migration keeps the journal as it was."""
        return self.path.with_name(f"{self.path.name}.version-{self.version}")

    def row(self, name: str) -> Filing:
        """The last row of the image with this name in the inbox."""
        return [row for row in self.rows if row.source.name == name][-1]


def settle(version: int, folder: Path) -> Era:
    """Put a stored journal below a folder, with all files that it speaks of, under the paths and inodes they have."""
    told = json.loads((_STORED / f"{version}.json").read_text())
    desk = Desk(folder / "inbox", folder / "sorted", folder / "state" / "journal.db")
    for place in (desk.inbox, desk.output, desk.journal_path.parent):
        place.mkdir(parents=True)
    inodes, contents = _plant(told["files"], folder)
    shutil.copyfile(_STORED / f"{version}.db", desk.journal_path)
    rows = [_filing(row, folder, inodes) for row in told["rows"]]
    with closing(sqlite3.connect(desk.journal_path)) as db:
        for table, column in _PATHS[version]:
            for (path,) in db.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall():
                moved = records.as_text(str(_moved(os.fsdecode(path), folder)))
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (moved, path))
        for row in rows:
            values = (row.identity.dev, row.identity.ino, row.copy_ino, row.id)
            db.execute("UPDATE filings SET dev = ?, ino = ?, copy_ino = ? WHERE id = ?", values)
        db.commit()
    return Era(version, desk, rows, told["notes"], contents)


def _plant(files: list[dict[str, Any]], folder: Path) -> tuple[dict[int, int], dict[Path, bytes]]:
    """Make the files; returns the inode of each by the one it had, and what is in those that are images."""
    inodes: dict[int, int] = {}
    links: dict[int, Path] = {}
    contents = {}
    for file in files:
        path, content = Path(_moved(file["path"], folder)), bytes.fromhex(file["content"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if file["ino"] in links:
            path.hardlink_to(links[file["ino"]])
        else:
            path.write_bytes(content)
        os.utime(path, (_MTIME, _MTIME))
        links[file["ino"]] = path
        inodes[file["ino"]] = path.stat().st_ino
        if path.suffix in (".jpg", ".xmp"):
            contents[path] = content
    return inodes, contents


def _moved(path: str, folder: Path) -> str:
    for old, new in ((str(ROOT), str(folder)), (str(FAR), str(folder / "far"))):
        if path == old or path.startswith(f"{old}/"):
            return new + path[len(old) :]
    return path


def _filing(row: dict[str, Any], folder: Path, inodes: dict[int, int]) -> Filing:
    _, ino, size, mtime_ns = row.pop("identity")
    destination, copy_ino = row.pop("destination"), row.pop("copy_ino")
    destination = None if destination is None else Path(_moved(destination, folder))
    return Filing(
        state=State(row.pop("state")),
        source=Path(_moved(row.pop("source"), folder)),
        identity=Identity(folder.stat().st_dev, inodes.get(ino, ino), size, mtime_ns),
        folder=None if destination is None else destination.parent,
        filed_name=None if destination is None else destination.name,
        copy_ino=None if copy_ino is None else inodes.get(copy_ino, copy_ino),
        time=datetime.fromisoformat(row.pop("time")),
        **row,
    )


def rows_in(path: Path) -> list[Filing]:
    """Every row of a journal, of sidecars and interrupted filings too, as a program reads it beside its daemon."""
    with closing(opening.connect_to_read(path)) as db:
        return [records.decode(row) for row in db.execute(f"{records.SELECT} ORDER BY id")]


def dump(path: Path) -> list[str]:
    """Everything in a database, as SQL."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.text_factory = lambda text: text.decode(errors="surrogateescape")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return [f"version {version}", *db.iterdump()]
