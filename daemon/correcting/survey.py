"""Read the class folders of an output, and only those that have changed, for files that were not looked at yet."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loguru import logger

from daemon.correcting.class_folders import ClassFolders
from daemon.correcting.known_files import KnownFiles, KnownFolder, key_of, keys_of
from daemon.files.inotify import FolderIdentity
from daemon.files.mounts import kinds_by_device, remote_kind
from daemon.files.output_mark import OUTPUT_MARK
from daemon.files.renaming import close
from daemon.files.roots import NO_FOLDER, Roots

#: Names that are read at a step.
_STEP = 1_000
#: Seconds after which a folder is read again although its times say that nothing has changed.
_AT_LEAST = 86_400.0
#: Nanoseconds after which a next change gets another time: where times are fine, and where they are in seconds.
_FINE, _COARSE = 50_000_000, 3_000_000_000
#: For so many nanoseconds after `sort` has touched a folder's marker, as it often does, what comes may be from `sort`.
_SORTING = 60_000_000_000
#: Network file systems whose servers keep the times of folders, and give a file the same inode number each time.
_FAITHFUL = frozenset({"nfs", "nfs4"})


class Origin(Enum):
    """What is known of how a file came to where it lies."""

    SEEN = "seen"  # it came while the folder was watched
    FOUND = "found"  # it came some time after the folder had been read, perhaps before this process began
    UNKNOWN = "unknown"  # it lay there at first, in a folder that programs file into


class Sighting(NamedTuple):
    """A file that was not looked at yet, whatever it is. ``folder`` is its path below the output.

    ``inode`` is 0 where it is not known.
    """

    folder: str
    name: str
    inode: int
    origin: Origin

    @property
    def key(self) -> tuple[str, int]:
        """Return the key by which it is told from all others."""
        return self.folder, key_of(self.name, self.inode)


def way_to(folder: str) -> Iterator[str]:
    """Yield a folder and those that it lies in, from the output down."""
    end = folder.find("/")
    while end >= 0:
        yield folder[:end]
        end = folder.find("/", end + 1)
    yield folder


class Survey:
    """Goes through the class folders of one output. ``arm`` is called with each folder before it is read.

    ``is_mount_away`` is asked about each class folder, with whether it is on another file system than the output.
    ``has_events``: whether events tell of changes after a folder was read. ``renamed`` is told the class of
    a folder that somebody has renamed, and its name now.
    """

    def __init__(
        self,
        output: Path,
        meanings: ClassFolders,
        known: KnownFiles,
        *,
        arm: Callable[[str], None] = lambda _: None,
        is_mount_away: Callable[[str, bool], bool] = lambda *_: False,
        has_events: Callable[[], bool] = lambda: False,
        renamed: Callable[[str, str], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._output = output
        self._meanings = meanings
        self._known = known
        self._roots = Roots([output])
        self._arm = arm
        self._is_mount_away = is_mount_away
        self._has_events = has_events
        self._renamed = renamed
        self._moved_in: set[int] = set()  # inode numbers of class folders that were moved into others
        self._clock, self._wall = clock, wall
        self._kind = remote_kind(str(output))
        #: Whether a class folder lies on a share, of which no event tells.
        self.has_shares = False

    def begin(self) -> bool:
        """Note which folders there are before anything is filed into them; returns whether any is new."""
        is_new, there = False, self._follow_renames()
        for name in there:
            if name not in self._known.folders:
                status = os.lstat(self._output / name)
                self._known.folders[name] = self._first_seen(name, (status.st_dev, status.st_ino))
                is_new = True
        return is_new

    def steps(self) -> Iterator[list[Sighting]]:
        """Go through all folders once, and yield some files at each step. Raises OSError."""
        self.has_shares = False
        there = self._follow_renames()
        for name in sorted((name for name in there if "/" not in name), key=self._size):
            yield from self.visit(name)
        for name in [name for name in self._class_folders() if name not in there]:
            self._known.forget(name)

    def visit(self, folder: str) -> Iterator[list[Sighting]]:
        """Go through one folder and all inside."""
        class_folder = self._meanings.folder_of(folder)
        if not all(map(self._meanings.is_looked_at, way_to(class_folder))) or self._is_away(class_folder):
            return
        if class_folder not in self._known.folders:
            self._follow_rename(class_folder)
        is_complete, pending, read = True, [folder], list[str]()
        while pending:
            path = pending.pop()
            if self._meanings.is_class_folder(path):
                if self._is_away(path):
                    continue
                if path not in self._known.folders:
                    self._follow_rename(path)
                read.append(path)
            try:
                yield from self._read_if_changed(path)
            except NO_FOLDER:
                self._known.forget(path)
                continue
            except OSError as error:
                is_complete = False
                logger.debug("the folder {} is read again later: {}", path, error)
            if (known := self._known.folders.get(path)) is not None:
                pending += [f"{path}/{inside}" for inside in known.folders]
        for path in read if is_complete else ():
            if (known := self._known.folders.get(path)) is not None:
                known.unknown_origin, known.surveyed = False, True

    def _class_folders(self) -> dict[str, KnownFolder]:
        """Map the class folders that are known to what is known of them."""
        return self._known.class_folders(self._meanings.is_inner)

    def _present(self) -> dict[str, int]:
        """Map the class folders that are there, and are looked at, to their inode numbers. Raises OSError."""
        present, pending = {}, [""]
        while pending:
            outer = pending.pop()
            try:
                with os.scandir(self._output / outer) as entries:
                    inside = {entry.name: entry.inode() for entry in entries if entry.is_dir(follow_symlinks=False)}
            except OSError:
                if not outer:
                    raise
                continue  # it is said when it is read
            for name, inode in inside.items():
                folder = f"{outer}/{name}" if outer else name
                if self._meanings.is_looked_at(folder):
                    present[folder] = inode
                    if self._meanings.is_inner(folder):
                        pending.append(folder)
        return present

    def _is_away(self, folder: str) -> bool:
        """Whether only the mount point of a class folder is there. Notes whether it lies on a share."""
        outer = folder.rpartition("/")[0]
        try:
            device, of_outer = os.lstat(self._output / folder).st_dev, (self._output / outer).stat().st_dev
        except OSError:
            return True
        if device != of_outer and device in kinds_by_device():
            self.has_shares = True
        return self._is_mount_away(folder, device != of_outer)

    def _follow_renames(self) -> dict[str, int]:
        """Find class folders that were renamed as a whole: that corrects no image in them.

        Returns the class folders that are there. Raises OSError.
        """
        followed: set[str] = set()
        while True:
            known, there = self._class_folders(), self._present()
            gone = {folder.identity[1]: name for name, folder in known.items() if name not in there}
            for name in there.keys() - known.keys() - followed:
                if there[name] in gone and self._go_on_as(gone[there[name]], name):
                    followed.add(name)
                    break  # what lies in it has another path now, too
            else:
                return there

    def _follow_rename(self, name: str) -> None:
        """Do so for one class folder, without a look at the others: there may be thousands."""
        with suppress(OSError):
            inode = os.lstat(self._output / name).st_ino
            if (old := next((old for old in self._with_inode(inode) if not self._is_there(old)), None)) is not None:
                self._go_on_as(old, name)

    def _go_on_as(self, old: str, name: str) -> bool:
        """Take over what is known of a class folder that has been renamed; returns whether it was taken over.

        The folder still stands for its earlier class, unless its new name is that of a class of the model and its
        earlier name is not. One that only people have put images into is not taken over: its images get another label.
        """
        if self._kind or self._meanings.marked(name) is None:
            return False
        stood_for = self._meanings.class_of(old)
        self._known.rename(old, name)
        known = self._known.folders[name]
        known.stands_for = None
        stands_for = self._meanings.class_of(name)
        is_adopted = self._meanings.is_class(stands_for) and not self._meanings.is_class(stood_for)
        if stands_for != stood_for and not is_adopted:
            known.stands_for = stood_for
            if self._meanings.label_of(name) is not None:
                self._renamed(stood_for, name)
        return True

    def _with_inode(self, inode: int) -> list[str]:
        return [name for name, folder in self._class_folders().items() if folder.identity[1] == inode]

    def _is_there(self, name: str) -> bool:
        path = self._output / name
        return path.is_dir() and not path.is_symlink() and self._meanings.is_looked_at(name)

    def _size(self, name: str) -> int:
        known = self._known.folders.get(name)
        return 0 if known is None else len(known.keys)

    def _first_seen(self, folder: str, identity: FolderIdentity) -> KnownFolder:
        if not self._meanings.is_class_folder(folder):
            return KnownFolder(identity)
        marker = self._meanings.marked(folder)
        is_unknown = marker is not None and identity[1] not in self._moved_in
        return KnownFolder(identity, marker=marker, unknown_origin=is_unknown)

    def _read_if_changed(self, folder: str) -> Iterator[list[Sighting]]:
        descriptor = self._roots.open_folder(self._output / folder)
        try:
            status = os.fstat(descriptor)
            class_folder = self._meanings.folder_of(folder)
            outer = self._known.folders.get(class_folder)
            if folder != class_folder and (outer is None or outer.identity[0] not in (0, status.st_dev)):
                return  # a file system of its own inside a class folder
            known = self._known_as(folder, (status.st_dev, status.st_ino))
            self._arm(folder)
            state = status.st_mtime_ns, status.st_ctime_ns
            if known.state == state and self._trusts_times(known):
                return
            yield from self._read(descriptor, folder, known, state)
        finally:
            close(descriptor)

    def _known_as(self, folder: str, identity: FolderIdentity) -> KnownFolder:
        known = self._known.folders.get(folder)
        is_same = known is not None and (
            self._is_unfaithful or (known.identity[1] == identity[1] and known.identity[0] in (0, identity[0]))
        )
        if known is None or not is_same:
            if known is not None:  # else a class folder in it may be known, which had another name
                self._known.forget(folder)
            known = self._known.folders[folder] = self._first_seen(folder, identity)
        known.identity = identity
        if self._meanings.is_class_folder(folder):
            self._look_at_marker(folder, known)
        else:
            self._look_at_inner_marker(folder, known)
        return known

    def _look_at_inner_marker(self, folder: str, known: KnownFolder) -> None:
        """Note whether programs may have filed into a folder inside a class folder: then its images get no labels.

        They have not if it was a class folder of this output until somebody moved it there.
        """
        marker, outer = self._meanings.marked(folder), self._known.folders.get(folder.rpartition("/")[0])
        if marker is not None and known.marker is None:
            known.foreign = not self._was_class_folder(known.identity[1])
        elif marker is None:
            known.foreign = outer is not None and outer.foreign
        known.marker = marker

    def _was_class_folder(self, inode: int) -> bool:
        """Whether a folder with this inode number was a class folder; if so, note that it no longer is one."""
        for name in self._with_inode(inode):
            self._known.forget(name)
            self._moved_in.add(inode)
        return inode in self._moved_in

    def _look_at_marker(self, folder: str, known: KnownFolder) -> None:
        """Note whether `sort`, which touches the marker, has filed into a class folder meanwhile."""
        marker = self._meanings.marked(folder)
        is_made = known.marker is None and known.surveyed and known.read_at is None  # while no daemon ran
        if marker is not None and marker != known.marker and (known.marker is not None or is_made):
            known.unknown_origin, known.state, known.touched = True, None, marker
        known.marker = marker

    def origin_now(self, path: str) -> Origin:
        """Return the origin of a file that comes into a folder now: `sort` may be filing into its class folder."""
        folder = self._meanings.folder_of(path)
        known = self._known.folders.get(path)
        if path != folder and known is not None and known.foreign:
            return Origin.UNKNOWN
        known = self._known.folders.get(folder)
        if known is None:
            return Origin.SEEN
        marker = self._meanings.marked(folder)
        if known.marker is None:
            known.marker = marker
        elif marker is not None and marker != known.marker:
            known.touched = marker  # the next reading sees the same, also for files of which no event told
        is_touched = known.touched is not None and abs(self._wall() * 1e9 - known.touched) < _SORTING
        return Origin.UNKNOWN if is_touched or known.unknown_origin else Origin.SEEN

    def note_markers(self) -> None:
        """Note which markers this daemon has made meanwhile."""
        for name, known in self._class_folders().items():
            if known.marker is None:
                known.marker = self._meanings.marked(name)

    @property
    def _is_unfaithful(self) -> bool:
        return self._kind is not None and self._kind not in _FAITHFUL

    def _trusts_times(self, known: KnownFolder) -> bool:
        is_recent = known.read_at is None or self._clock() < known.read_at + _AT_LEAST
        return is_recent and not self._is_unfaithful

    def _read(
        self, descriptor: int, folder: str, known: KnownFolder, state: tuple[int, int]
    ) -> Iterator[list[Sighting]]:
        """Read the names of a folder, some at a step."""
        began, is_over = self._clock(), self._is_over(state)
        origin = self.origin_now(folder)
        if origin is Origin.SEEN and known.read_at is None:
            origin = Origin.FOUND
        before, present, folders = known.merge(), array("Q"), []
        names: list[str] = []
        inodes: list[int] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if self._meanings.is_entered(f"{folder}/{name}"):
                        folders.append(name)
                    continue
                if name == OUTPUT_MARK and not self._meanings.is_class(folder):
                    known.folders = []
                    return  # of another output
                names.append(name)
                inodes.append(0 if self._is_unfaithful else entry.inode())
                if len(names) == _STEP:
                    yield self._new(folder, names, inodes, before, present, origin)
                    names.clear()
                    inodes.clear()
        yield self._new(folder, names, inodes, before, present, origin)
        for gone in set(known.folders) - set(folders):
            self._known.forget(f"{folder}/{gone}")
        known.keys, known.folders = np.sort(np.frombuffer(present, np.uint64)), folders
        known.state = state if is_over or self._has_events() else None
        known.read_at = began

    def _new(
        self, folder: str, names: list[str], inodes: list[int], before: np.ndarray, present: array[int], origin: Origin
    ) -> list[Sighting]:
        """Return those of some files that were not there before; all are added to those ``present``."""
        keys = keys_of(names, inodes)
        present.frombytes(keys.tobytes())
        if len(before):
            places = np.minimum(np.searchsorted(before, keys), len(before) - 1)
            new: Iterable[int] = np.flatnonzero(before[places] != keys).tolist()
        else:
            new = range(len(names))
        return [Sighting(folder, names[at], inodes[at], origin) for at in new]

    def _is_over(self, state: tuple[int, int]) -> bool:
        """Whether a later change of a folder will have other times than the one that was seen last."""
        if self._kind is not None:
            return False  # by the clock of a server
        age = self._wall() * 1e9 - max(state)
        return age > (_COARSE if state[0] % 1_000_000_000 == 0 else _FINE)
