"""Where the images of an archive lie: a folder of this machine, or whatever fsspec opens by its URL."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from loguru import logger

from daemon.files.candidates import is_candidate, is_temporary_name
from models.backoff import Backoff
from models.errors import UserError
from models.files.leftovers import is_leftover
from models.text.language import tr

_Answer = TypeVar("_Answer")

#: Requests for one thing, until it counts as failed, and the seconds between them.
TRIES, BETWEEN_TRIES = 6, Backoff(0.1, 5.0)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: How file systems call the time of a file, the best first.
_TIMES = ("LastModified", "mtime", "last_modified", "updated", "modified", "timeModified", "created")


class StoreFailed(Exception):
    """A request failed again and again; the message is the last error."""


class StoredFile(NamedTuple):
    """A file in a store, or a folder in it: its path there, its size and its time."""

    path: str
    is_folder: bool
    size: int
    mtime_ns: int
    etag: str


def is_url(text: str) -> bool:
    """Whether a text is a URL, and not a path."""
    return _URL.match(text) is not None


def local_path(text: str) -> Path | None:
    """Return the path of a folder or file of this machine by its path or ``file://`` URL; None for another store."""
    if not is_url(text):
        return Path(text).absolute()
    if not text.lower().startswith("file://"):
        return None
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(text).path)))


def retried(request: Callable[[], _Answer]) -> _Answer:
    """Carry out a request to a store, again where it fails. Raises FileNotFoundError at once, and `StoreFailed`."""
    for earlier in range(TRIES):
        try:
            return request()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:  # each store has its own kinds
            logger.debug("request {} failed: {}: {}", earlier + 1, type(error).__name__, error)
            last = error
            if earlier + 1 < TRIES:
                time.sleep(BETWEEN_TRIES.delay(earlier))
    raise StoreFailed(f"{type(last).__name__}: {last}") from last


class Store:
    """A store that fsspec opens, and the ``base`` URL below which paths of it are addressed."""

    def __init__(self, url: str) -> None:
        """Raises `UserError` for a kind of store that is not known, or whose package is not installed."""
        import fsspec

        self.base = url.rstrip("/")
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(tr("{url} cannot be opened: {reason}", url=url, reason=str(error))) from error
        except Exception as error:  # what its package raises where it cannot connect
            raise UserError(
                tr("{url} cannot be opened: {reason}", url=url, reason=f"{type(error).__name__}: {error}")
            ) from error
        self.root = str(root).rstrip("/")

    @property
    def file_system(self) -> Any:
        """Its file system, of fsspec."""
        return self._fs

    def path(self, uri: str) -> str:
        """Return the path in the store of an address below the base."""
        return self.root + uri.removeprefix(self.base)

    def uri(self, path: str) -> str:
        """Return the address of a path below the root."""
        return self.base + path.removeprefix(self.root)

    def holds(self, uri: str) -> bool:
        """Whether an address is below the base."""
        return uri.startswith(f"{self.base}/")

    def list(self, folder: str) -> list[StoredFile]:
        """List a folder. Raises FileNotFoundError and `StoreFailed`."""
        entries = retried(lambda: self._fs.ls(folder, detail=True))
        with suppress(AttributeError, KeyError):
            self._fs.invalidate_cache(folder)
        found = [_stored(entry) for entry in entries]
        return [entry for entry in found if entry.path.rstrip("/") != folder.rstrip("/")]

    def info(self, path: str) -> StoredFile | None:
        """Ask which file is at a path; None where none is. Raises `StoreFailed`."""
        try:
            return _stored(retried(lambda: self._info(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _info(self, path: str) -> dict[str, Any]:
        with suppress(AttributeError, KeyError):
            self._fs.invalidate_cache(path)
        if hasattr(self._fs, "call_s3"):
            # Where no object is, its `info` lists the bucket in search of a folder, which costs ten times as much.
            bucket, key, _ = self._fs.split_path(path)
            head: dict[str, Any] = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
            return head | {"name": path, "size": head["ContentLength"]}
        found: dict[str, Any] = self._fs.info(path)
        return found

    def write(self, path: str, content: bytes) -> None:
        """Write a small file. Raises `StoreFailed`."""
        retried(lambda: self._fs.pipe_file(path, content))

    def fetch(self, path: str, to: Path) -> None:
        """Copy a file to this machine. Raises FileNotFoundError and `StoreFailed`."""
        retried(lambda: self._fs.get_file(path, str(to)))

    def walk(
        self, failed: Callable[[str, str], None], mark: str, left_out: Callable[[str], None]
    ) -> Iterator[StoredFile]:
        """Yield the files that may be images, by their names; memory grows with the files of one folder.

        ``failed`` is called with a folder that could not be listed, and why; ``left_out`` with one below the base that
        is left out, since it holds a file named ``mark``.
        """
        pending = [self.root]
        while pending:
            folder = pending.pop()
            try:
                entries = self.list(folder)
            except FileNotFoundError:
                if folder == self.root:
                    failed(self.base, tr("No such file or directory"))
                continue
            except (StoreFailed, NotADirectoryError) as error:
                failed(self.uri(folder), str(error))
                continue
            if folder != self.root and any(entry.path == f"{folder}/{mark}" for entry in entries):
                left_out(self.uri(folder))
                continue
            for entry in entries:
                name = entry.path.rstrip("/").rpartition("/")[2]
                if entry.is_folder:
                    if not (is_leftover(name) or is_temporary_name(name)):
                        pending.append(entry.path.rstrip("/"))
                elif is_candidate(name):
                    yield entry


def _stored(info: dict[str, Any]) -> StoredFile:
    return StoredFile(
        path=str(info["name"]),
        is_folder=info.get("type") == "directory",
        size=int(info.get("size") or 0),
        mtime_ns=_mtime_ns(next((info[key] for key in _TIMES if info.get(key) is not None), None)),
        etag=str(info.get("ETag") or "").strip('"'),
    )


def _mtime_ns(value: object) -> int:
    """Return a time as nanoseconds since 1970, however a store gives it; 0 where it gives none."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    return int(value * 1e9) if isinstance(value, int | float) else 0
