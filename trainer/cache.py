"""Features that were computed once: a SQLite file in the local cache, keyed by content, transform and weights.

Two trainers may use it at once, and one may be killed: rows are added in short transactions of their own. It only ever
saves time: where it cannot be used, for a full disk say, the fit goes on without.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from loguru import logger

from models.errors import UserError
from models.registry import Backbone
from models.weights import WeightsStore

Features = npt.NDArray[np.float32]

_COMMIT_EVERY = 64
_BUSY_S = 60.0
_TABLE = """CREATE TABLE IF NOT EXISTS features (
    backbone TEXT NOT NULL, sha256 BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (backbone, sha256)) WITHOUT ROWID"""


class FeatureCache:
    """The cached features of images for the backbones of one mode, in their order."""

    def __init__(self, parts: Sequence[Backbone], store: WeightsStore) -> None:
        self._keys = [_key(part) for part in parts]
        self._ends = np.cumsum([part.width for part in parts])[:-1]
        self._file = store.folder("features") / "features.sqlite"
        self._base: sqlite3.Connection | None = None
        self._keeping = True
        self._waiting: list[tuple[str, bytes, bytes]] = []
        #: The sha256 (hex) of every image whose features are here, as of the opening.
        self.known: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        try:
            self._base = _open(self._file)
            held = [self._images(self._base, key) for key in self._keys]
            self.known = frozenset(set.intersection(*held))
        except sqlite3.Error as error:
            self._stop_keeping(error)
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        if self._base is not None:
            self._base.close()

    @staticmethod
    def _images(base: sqlite3.Connection, key: str) -> set[str]:
        rows = base.execute("SELECT sha256 FROM features WHERE backbone = ?", (key,))
        return {image.hex() for (image,) in rows}

    def get(self, sha256: str) -> Features:
        """The features (width,) of a known image."""
        assert self._base is not None, "an image is known to an open cache only"
        query = "SELECT vector FROM features WHERE backbone = ? AND sha256 = ?"
        image = bytes.fromhex(sha256)
        try:
            parts = [self._base.execute(query, (key, image)).fetchone()[0] for key in self._keys]
        except sqlite3.Error as error:
            raise UserError(f"the cached features in {self._file} are damaged ({error}): delete that file") from error
        return np.concatenate([np.frombuffer(part, "<f4") for part in parts])

    def put(self, sha256: str, features: Features) -> None:
        """Keep the features (width,) of one image."""
        image = bytes.fromhex(sha256)
        for key, part in zip(self._keys, np.split(features, self._ends), strict=True):
            self._waiting.append((key, image, part.astype("<f4").tobytes()))
        if len(self._waiting) >= _COMMIT_EVERY * len(self._keys):
            self.commit()

    def commit(self) -> None:
        """Make what was put so far outlive this process."""
        rows, self._waiting = self._waiting, []
        if self._base is None or not self._keeping:
            return
        try:
            with self._base:
                self._base.executemany("INSERT OR IGNORE INTO features VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._stop_keeping(error)

    def _stop_keeping(self, error: sqlite3.Error) -> None:
        self._keeping = False
        logger.warning("features are not kept for the next fit: {}: {}", self._file, error)


def _key(backbone: Backbone) -> str:
    text = f"{backbone.name} {backbone.digest} {backbone.transform.fingerprint}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _open(file: Path) -> sqlite3.Connection:
    """Open the file, anew where it turns out to be damaged: everything in it can be made again."""
    try:
        return _connect(file)
    except sqlite3.OperationalError:  # locked, read-only, no space: nothing is wrong with the file
        raise
    except sqlite3.DatabaseError:
        for damaged in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            damaged.unlink(missing_ok=True)
        return _connect(file)


def _connect(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=_BUSY_S)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        with base:
            base.execute(_TABLE)
    except sqlite3.Error:
        base.close()
        raise
    return base
