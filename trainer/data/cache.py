"""The cache of features: a SQLite file, keyed by image content, transform and weights.

Features are stored for each backbone separately, so that runs and modes share them. Two trainers may use the file at
once, and one may be killed: entries are added in short transactions, every few seconds. The file has a maximum size;
entries used least recently make room. It only saves time: where it cannot be used (a full disk), a fit does without.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from loguru import logger

from models.decoding.images import READING_VERSION
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.data.perceptual_hash import HASH_TRANSFORM, VERSION, PerceptualHash

Features = npt.NDArray[np.float32]

#: The default size in bytes, enough for the features of some 300,000 images.
DEFAULT_SIZE = 2_000_000_000

_COMMIT_EVERY, _COMMIT_EVERY_S = 64, 2.0
_BUSY_S = 60.0
_LAYOUT = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, sha256 BLOB NOT NULL,
    used INTEGER NOT NULL, content BLOB NOT NULL, UNIQUE (kind, sha256));
CREATE INDEX IF NOT EXISTS entries_used ON entries (used);
"""


class FeatureCache:
    """Cached features of images for each backbone of one mode, and perceptual hashes. Several threads may read it.

    ``size`` is the maximum size of the file in bytes; with 0 nothing is stored. Each trainer that opens the file begins
    a session, whose number says how recently an entry was used.
    """

    def __init__(self, parts: Sequence[Backbone], store: WeightsStore, *, size: int = DEFAULT_SIZE) -> None:
        self._kinds = [_kind(part) for part in parts]
        self._file = store.folder("features") / "features.sqlite"
        self._size = size
        self._database: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._stores = size > 0
        self._full = self._damaged = False
        self._session = 0
        self._pending: list[tuple[str, bytes, int, bytes]] = []
        self._used: list[tuple[int, int]] = []
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        if not self._stores:
            return self
        try:
            self._database = _open(self._file)
            self._session = 1 + (self._database.execute("SELECT max(used) FROM entries").fetchone()[0] or 0)
        except sqlite3.Error as error:
            self._stop_storing(error)
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        if self._database is not None:
            self._database.close()
        if self._damaged:
            _remove(self._file)

    def features(self, sha256: str) -> list[Features | None]:
        """Return an image's features (width,) for each backbone, None where not cached; ``sha256`` is in hex."""
        entries = [self._get(kind, sha256) for kind in self._kinds]
        return [None if content is None else np.frombuffer(content, "<f4") for content in entries]

    def perceptual_hash(self, sha256: str) -> PerceptualHash | None:
        """Return an image's hash, or None where it is not cached; ``sha256`` is in hex."""
        content = self._get(_HASH_KIND, sha256)
        return None if content is None else PerceptualHash.unpack(content)

    def _get(self, kind: str, sha256: str) -> bytes | None:
        query = "SELECT id, used, content FROM entries WHERE kind = ? AND sha256 = ?"
        with self._lock:
            if self._database is None or self._damaged:
                return None
            try:
                row = self._database.execute(query, (kind, bytes.fromhex(sha256))).fetchone()
            except sqlite3.Error as error:
                self._damaged = not isinstance(error, sqlite3.OperationalError)
                self._stop_storing(error)
                return None
            if row is None:
                return None
            entry, used, content = row
            if used < self._session:
                self._used.append((self._session, entry))
        return _checked(content)

    def known(self) -> list[frozenset[bytes]]:
        """Return which images have features in the cache, by sha256, for each backbone, and last which have hashes."""
        return [self._known(kind) for kind in (*self._kinds, _HASH_KIND)]

    def _known(self, kind: str) -> frozenset[bytes]:
        with self._lock:
            if self._database is None or self._damaged:
                return frozenset()
            try:
                rows = self._database.execute("SELECT sha256 FROM entries WHERE kind = ?", (kind,))
                return frozenset(sha256 for (sha256,) in rows)
            except sqlite3.Error as error:
                self._damaged = not isinstance(error, sqlite3.OperationalError)
                self._stop_storing(error)
                return frozenset()

    def put_features(self, part: int, sha256: str, features: Features) -> None:
        """Store an image's features (width,) for the backbone at position ``part``."""
        self._put(self._kinds[part], sha256, features.astype("<f4").tobytes())

    def put_perceptual_hash(self, sha256: str, perceptual_hash: PerceptualHash) -> None:
        """Store an image's hash."""
        self._put(_HASH_KIND, sha256, perceptual_hash.pack())

    def _put(self, kind: str, sha256: str, content: bytes) -> None:
        if not self._stores or self._full:
            return
        checksum = zlib.crc32(content).to_bytes(4, "little")
        self._pending.append((kind, bytes.fromhex(sha256), self._session, checksum + content))
        if len(self._pending) >= _COMMIT_EVERY or time.monotonic() - self._committed > _COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Write what was stored so far to the file."""
        self._committed = time.monotonic()
        rows, self._pending = self._pending, []
        with self._lock:
            used, self._used = self._used, []
            if self._database is None or not self._stores:
                return
            try:
                with self._database:
                    self._database.executemany("UPDATE entries SET used = ? WHERE id = ?", used)
                if rows and _make_room(self._database, self._size - _bytes(rows), self._session):
                    with self._database:
                        self._database.executemany(
                            "INSERT OR REPLACE INTO entries (kind, sha256, used, content) VALUES (?, ?, ?, ?)", rows
                        )
                elif rows:
                    self._full = True
                    logger.warning(
                        tr("the cache of features is full, the rest is not kept: give a larger --cache-size")
                    )
            except sqlite3.Error as error:
                self._stop_storing(error)

    def _stop_storing(self, error: sqlite3.Error) -> None:
        if self._stores:
            logger.warning(tr("features are not kept for the next fit: {file}: {error}", file=self._file, error=error))
        self._stores = False


def _kind(backbone: Backbone) -> str:
    return _digest(f"{backbone.name} {backbone.digest} {backbone.transform.fingerprint} {READING_VERSION}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_HASH_KIND = _digest(f"look {VERSION} {HASH_TRANSFORM.fingerprint} {READING_VERSION}")


def _checked(content: bytes) -> bytes | None:
    """Return the content without its checksum; None where a failing disk has changed it."""
    is_intact = zlib.crc32(content[4:]).to_bytes(4, "little") == content[:4]
    return content[4:] if is_intact else None


def _bytes(rows: Sequence[tuple[str, bytes, int, bytes]]) -> int:
    """Return how many bytes the file grows by with new entries, at most."""
    return sum(len(row[-1]) * 3 // 2 + 512 for row in rows)


def _make_room(database: sqlite3.Connection, size: int, session: int) -> bool:
    """Delete entries of earlier sessions, least recently used first, until ``size`` bytes do; tell whether they do."""
    page = _pragma(database, "page_size")
    while page * (_pragma(database, "page_count") - _pragma(database, "freelist_count")) > size:
        with database:
            oldest = "SELECT id FROM entries WHERE used < ? ORDER BY used, id LIMIT 32"
            deleted = database.execute(f"DELETE FROM entries WHERE id IN ({oldest})", (session,)).rowcount
        if not deleted:
            return False
    if page * _pragma(database, "page_count") > size:
        database.executescript("PRAGMA incremental_vacuum")  # ``execute`` would take one step, which frees one page
    return True


def _pragma(database: sqlite3.Connection, name: str) -> int:
    value: int = database.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _open(file: Path) -> sqlite3.Connection:
    """Open the file, or a new one where it is damaged or has another layout: its content can be computed again."""
    try:
        return _connect(file)
    except sqlite3.OperationalError:  # locked, read-only or no space: the file itself is sound
        raise
    except sqlite3.DatabaseError:
        _remove(file)
        return _connect(file)


def _remove(file: Path) -> None:
    for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        path.unlink(missing_ok=True)


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect only before the first table
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if _pragma(database, "user_version") != _LAYOUT:
            if _pragma(database, "page_count") > 1:
                raise sqlite3.DatabaseError(tr("its layout is that of another version"))
            database.execute(f"PRAGMA user_version = {_LAYOUT}")
        database.executescript(_TABLES)
    except sqlite3.Error:
        database.close()
        raise
    return database
