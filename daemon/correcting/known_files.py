"""Remember which files of the class folders were looked at, in 8 bytes each, and across restarts.

Of each file a key is kept, made of its name and its inode number. What has another key is looked at: a file that came,
was renamed or replaced. What is remembered only decides how much has to be read again.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from daemon.correcting.folder_tree import FolderTree
from daemon.files.inotify import FolderIdentity
from models.files.atomic import atomic_file

#: Beside the journal.
REMEMBERED = "seen-files"

Keys = NDArray[np.uint64]
_VERSION = 2
_LOW = 0xFFFFFFFF
_MOST_LEFT = 10_000


def key_of(name: str, inode: int) -> int:
    """Return what a file is remembered by; ``inode`` may be 0 where inode numbers do not last."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape")) << 32 | inode & _LOW


def keys_of(names: Sequence[str], inodes: Sequence[int]) -> Keys:
    """Return the keys of many files."""
    crc32 = zlib.crc32
    halves = np.array([crc32(name.encode("utf-8", "surrogateescape")) for name in names], np.uint64)
    return (halves << np.uint64(32)) | (np.array(inodes, np.uint64) & np.uint64(_LOW))


def no_keys() -> Keys:
    """Return the keys of an empty folder."""
    return np.empty(0, np.uint64)


@dataclass(slots=True)
class KnownFolder:
    """One folder as it was read last. Of one that was remembered, the device number is 0.

    ``state`` is that of the folder itself when it was read; None if it is to be read again. ``folders`` are those in
    it. Of a class folder, not of one in it: ``marker`` is when its marker was written, ``surveyed`` says that it was
    read to its end with all inside, and ``unknown_origin`` that what is new in it may come from programs. ``touched``
    is the last time that `sort` gave the marker while this process has watched.
    """

    identity: FolderIdentity
    keys: Keys = field(default_factory=no_keys)
    state: tuple[int, int] | None = None
    folders: list[str] = field(default_factory=list)
    read_at: float | None = None  # by the clock of this process
    marker: int | None = None
    unknown_origin: bool = False
    surveyed: bool = False
    touched: int | None = None
    #: Of a class folder that somebody has renamed: the class that it had the name of.
    stands_for: str | None = None
    #: Of a folder inside a class folder: programs may have filed into it.
    foreign: bool = False
    _more: dict[int, int] = field(default_factory=dict)  # keys that came since, by their high halves
    _left: set[int] = field(default_factory=set)  # high halves of keys that are gone

    def add(self, name: str, inode: int) -> None:
        """Remember a file."""
        key = key_of(name, inode)
        self._more[key >> 32] = key

    def drop(self, name: str) -> None:
        """Forget a file, by whatever inode it had."""
        half = key_of(name, 0) >> 32
        self._more.pop(half, None)
        self._left.add(half)
        if len(self._left) > _MOST_LEFT:
            self.merge()

    def merge(self) -> Keys:
        """Put all changes into the keys, and return these, sorted."""
        if self._left:
            left = np.fromiter(self._left, np.uint64, len(self._left))
            self.keys = self.keys[~np.isin(self.keys >> np.uint64(32), left)]
            self._left.clear()
        if self._more:
            more = np.fromiter(self._more.values(), np.uint64, len(self._more))
            self.keys = np.unique(np.concatenate([self.keys, more]))
            self._more.clear()
        return self.keys


class KnownFiles:
    """The folders of one output, by their paths below it; ``saved_at`` is when the file was written, as seconds.

    ``journal`` is the identity of the journal that has what was filed into them.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.folders: FolderTree[KnownFolder] = FolderTree()
        self.saved_at = 0.0
        self.journal: str | None = None
        self._load()

    def class_folders(self, is_inner: Callable[[str], bool] = lambda _: False) -> dict[str, KnownFolder]:
        """Map the folders of classes to what is known of them.

        They lie in the output itself, or in an inner folder.
        """
        found, pending = {}, [""]
        while pending:
            for path in self.folders.children(pending.pop()):
                found[path] = self.folders[path]
                if is_inner(path):
                    pending.append(path)
        return found

    def belong_to(self, journal: str) -> None:
        """Forget everything that was seen beside another journal, since this one does not know what was filed then."""
        if self.journal != journal:
            self.folders.clear()
            self.journal, self.saved_at = journal, 0.0

    def forget(self, folder: str) -> None:
        """Forget a folder and all inside."""
        for path in self.folders.inside(folder):
            del self.folders[path]

    def rename(self, old: str, new: str) -> None:
        """Note that a folder, and all inside, has another path now."""
        for path in self.folders.inside(old):
            self.folders[new + path[len(old) :]] = self.folders.pop(path)

    def save(self, undecided: Collection[tuple[str, int]]) -> None:
        """Write everything but the keys of files that are ``undecided`` (by folder and key): they are looked at again.

        It may be lost in a power cut, and nobody needs to be told if it cannot be written.
        """
        undecided_by_folder: dict[str, list[int]] = {}
        for folder, key in undecided:
            undecided_by_folder.setdefault(folder, []).append(key)
        heads, arrays = [], []
        for path, folder_now in self.folders.items():
            keys, state = folder_now.merge(), folder_now.state
            if path in undecided_by_folder:
                keys, state = keys[~np.isin(keys, np.array(undecided_by_folder[path], np.uint64))], None
            heads.append(_head(path, folder_now, keys, state))
            arrays.append(keys)
        saved_at = time.time()
        head = {"version": _VERSION, "saved_at": saved_at, "journal": self.journal, "folders": heads}
        try:
            with atomic_file(self._file, durable=False, mode=0o600) as file:
                file.write(json.dumps(head).encode() + b"\n")
                for keys in arrays:
                    file.write(keys.astype("<u8").tobytes())
        except OSError as error:
            logger.debug("{} is written later: {}", self._file, error)
        else:
            self.saved_at = saved_at

    def _load(self) -> None:
        with suppress(OSError, ValueError, LookupError, TypeError):
            with self._file.open("rb") as file:
                head = json.loads(file.readline())
                if head["version"] != _VERSION:
                    return
                keys = np.frombuffer(file.read(), "<u8").astype(np.uint64)
            counts = [int(folder["count"]) for folder in head["folders"]]
            if sum(counts) != len(keys):
                return
            ends = np.cumsum(counts)
            folders = {
                str(folder["path"]): _folder(folder, keys[end - count : end])
                for folder, count, end in zip(head["folders"], counts, ends, strict=True)
            }
            self.saved_at = float(head["saved_at"])
            self.journal = head["journal"]
            self.folders.update(folders)


def _head(path: str, folder: KnownFolder, keys: Keys, state: tuple[int, int] | None) -> dict[str, object]:
    return {
        "path": path,
        "ino": folder.identity[1],
        "count": len(keys),
        "state": state,
        "folders": folder.folders,
        "marker": folder.marker,
        "unknown_origin": folder.unknown_origin,
        "surveyed": folder.surveyed,
        "stands_for": folder.stands_for,
        "foreign": folder.foreign,
    }


def _folder(head: dict[str, Any], keys: Keys) -> KnownFolder:
    state, marker = head["state"], head["marker"]
    return KnownFolder(
        identity=(0, int(head["ino"])),
        keys=np.array(keys),
        state=None if state is None else (int(state[0]), int(state[1])),
        folders=[str(name) for name in head["folders"]],
        marker=None if marker is None else int(marker),
        unknown_origin=bool(head["unknown_origin"]),
        surveyed=bool(head["surveyed"]),
        stands_for=str(head["stands_for"]) if head.get("stands_for") else None,
        foreign=bool(head.get("foreign")),
    )
