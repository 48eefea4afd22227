"""Hear from the kernel what comes into the class folders and what leaves them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from daemon.correcting.folder_tree import FolderTree
from daemon.files.candidates import is_candidate
from daemon.files.inotify import EventQueue, InotifyConstants, QueuedEvent

_COMES = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CLOSE_WRITE
_LEAVES = InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_DELETE
_ENDS = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_UNMOUNT | InotifyConstants.IN_IGNORED
_MASK = (
    _COMES
    | _LEAVES
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
#: Files kept of one reading; beyond them the folders are read.
_MOST = 20_000


@dataclass
class Arrived:
    """What happened since the last look: files that came, files that left, and folders that came, by their paths.

    ``moved``: folders left or came, so that paths may have changed. ``lost``: events were lost.
    """

    files: dict[tuple[str, str], None] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)
    folders: dict[str, None] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    moved: bool = False
    lost: bool = False


class Arrivals:
    """Watches the folders of one output that the survey reads; paths are those below it, and "" is the output.

    Raises OSError (EMFILE) where the kernel has no more instances.
    """

    def __init__(self, output: Path, on_full: Callable[[OSError, int], None]) -> None:
        """``on_full`` is called when no more folders can be watched, with how many are."""
        self._output = output
        self._on_full = on_full
        self._queue = EventQueue()
        self._folders: dict[int, str] = {}
        self._numbers: FolderTree[int] = FolderTree()
        self.is_complete = True

    def __len__(self) -> int:
        return len(self._folders)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._queue.fileno()

    def close(self) -> None:
        """Watch nothing any more."""
        self._queue.close()

    def arm(self, folder: str) -> None:
        """Watch one folder, not those inside; again is cheap."""
        if folder and self._numbers.get(folder) is not None:
            return
        try:
            number = self._queue.watch(f"{self._output}/{folder}" if folder else str(self._output), _mask(folder))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM) and self.is_complete:
                self.is_complete = False
                self._on_full(error, len(self))
            return  # the survey finds any other trouble
        before = self._folders.get(number)
        if before is not None:
            self._numbers.pop(before, None)
        self._folders[number], self._numbers[folder] = folder, number

    def take(self) -> Arrived:
        """Return what happened since the last call."""
        arrived = Arrived()
        for event in self._queue.read():
            self._note(event, arrived)
        return arrived

    def _note(self, event: QueuedEvent, arrived: Arrived) -> None:
        if event.mask & InotifyConstants.IN_Q_OVERFLOW:
            arrived.lost = True
            self._numbers.clear()  # these paths may now name other folders: each is armed anew before it is read
            return
        folder = self._folders.get(event.descriptor)
        if folder is None:
            return
        if event.mask & _ENDS:
            self._forget(event.descriptor, folder)
            arrived.moved = True
            return
        if event.name.startswith(b"."):
            return  # a private name of ours, or nobody's image
        name = os.fsdecode(event.name)
        path = f"{folder}/{name}" if folder else name
        if event.mask & InotifyConstants.IN_ISDIR:
            arrived.moved = True
            if event.mask & _LEAVES:
                arrived.folders.pop(path, None)
                arrived.gone.append(path)
                self._unwatch(path)
            else:
                arrived.folders[path] = None
        elif folder and is_candidate(name):
            self._note_file(event, folder, name, arrived)

    def _note_file(self, event: QueuedEvent, folder: str, name: str, arrived: Arrived) -> None:
        if event.mask & _LEAVES:
            arrived.files.pop((folder, name), None)
            arrived.left.append((folder, name))
        elif len(arrived.files) < _MOST:
            arrived.files[folder, name] = None
        else:
            arrived.lost = True

    def _unwatch(self, folder: str) -> None:
        """Watch a folder no longer, nor those inside: it has another path, if any, and is armed anew there."""
        for path in self._numbers.inside(folder):
            number = self._numbers[path]
            self._queue.unwatch(number)
            self._forget(number, path)

    def _forget(self, number: int, folder: str) -> None:
        self._folders.pop(number, None)
        if self._numbers.get(folder) == number:
            del self._numbers[folder]


def _mask(folder: str) -> int:
    """The output itself may be a link, which is its owner's choice; no folder in it is followed."""
    return _MASK if folder else _MASK & ~InotifyConstants.IN_DONT_FOLLOW
