"""Read inotify events as hints about the inboxes, and never as more than that.

Folders are armed one by one as the walk enters them, and every loss of events is reported.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from loguru import logger

from daemon.files.candidates import is_candidate, is_temporary_name
from daemon.files.inotify import FolderIdentity, Inotify, InotifyConstants, InotifyEvent, Mask, Watch, identify
from daemon.files.lone_raw import is_lone_raw
from models.files.leftovers import is_left_alone
from models.text.language import tr

_ARRIVED = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_CLOSED = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_LEFT = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF
_GONE = _LEFT | InotifyConstants.IN_UNMOUNT
_MASK = Mask(_ARRIVED | _CLOSED | _LEFT | InotifyConstants.IN_ONLYDIR | InotifyConstants.IN_EXCL_UNLINK)

_RAISE_WATCHES = "sysctl fs.inotify.max_user_watches=1048576"


class Kind(IntEnum):
    """Kind of a hint; of two hints for one path the higher one stays."""

    CREATED = 0  # a file is there; more of it may follow
    CLOSED = 1  # a file was closed by its writer, or renamed into place
    FOLDER = 2  # a folder is there


@dataclass
class Hints:
    """Hints since the last call of `HintSource.take`."""

    paths: dict[str, Kind] = field(default_factory=dict)
    lost: bool = False  # hints were lost: only a walk finds what they named
    moved: bool = False  # a watched folder went away; perhaps an inbox


@dataclass(slots=True)
class _Folder:
    path: str
    identity: FolderIdentity
    watch: Watch
    owner: str
    turn: int


class HintSource:
    """Watches folders and gathers hints, at most ``limit`` of them.

    All methods but the three ``on_`` ones belong to one thread, the work loop's.

    Raises:
        OSError: no inotify instance is available (EMFILE).
    """

    def __init__(self, wake: Callable[[], None], *, limit: int) -> None:
        self._wake = wake
        self._limit = limit
        self._lock = threading.Lock()  # guards the next three, which the reader's thread writes
        self._hints = Hints()
        self._ended: list[int] = []
        self._moved: list[int] = []
        self._watches: dict[int, _Folder] = {}
        self._by_identity: dict[FolderIdentity, int] = {}
        self._inotify = Inotify()

    def __len__(self) -> int:
        return len(self._watches)

    def is_alive(self) -> bool:
        """Whether events are still being read."""
        return self._inotify.is_alive()

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()

    def arm(self, folder: str, identity: FolderIdentity, *, owner: str, turn: int, follow: bool = False) -> None:
        """Watch one folder (not those in it) for ``owner``; to repeat it is cheap, and notes where the folder is now.

        ``turn`` counts the owner's walks, see :meth:`sweep`. ``follow`` lets the folder itself be a symbolic link.

        Raises:
            OSError: ENOSPC when the limit of watches is reached, or an error of the folder.
        """
        known = self._by_identity.get(identity)
        if known is not None:
            armed = self._watches[known]
            armed.path, armed.owner, armed.turn = folder, owner, turn
            return
        mask = _MASK if follow else Mask(_MASK | InotifyConstants.IN_DONT_FOLLOW)
        watch = self._inotify.watch(folder, mask, self)
        if watch is None:
            return  # the walk will say so
        before = self._watches.get(watch.descriptor)
        if before is not None:  # the same folder under another identity
            self._inotify.unwatch(before.watch)
            self._by_identity.pop(before.identity, None)
        self._watches[watch.descriptor] = _Folder(folder, identity, watch, owner, turn)
        self._by_identity[identity] = watch.descriptor

    def is_armed(self, identity: FolderIdentity) -> bool:
        """Whether the folder is watched, as far as the events taken so far tell."""
        return identity in self._by_identity

    def sweep(self, owner: str, turn: int | None = None) -> None:
        """Stop watching the owner's folders that its walks since ``turn`` did not enter; all of them without it."""
        for descriptor, watch in list(self._watches.items()):
            if watch.owner == owner and (turn is None or watch.turn < turn):
                self._disarm(descriptor)

    def take(self) -> Hints:
        """Return the hints since the last call."""
        with self._lock:
            hints, self._hints = self._hints, Hints()
            ended, self._ended = self._ended, []
            moved, self._moved = self._moved, []
        for descriptor in ended:
            self._forget(descriptor)
        for descriptor in moved:
            watch = self._watches.get(descriptor)
            if watch is not None and identify(watch.path) != watch.identity:
                self._disarm(descriptor)  # its new place, when that is in an inbox, is hinted at by itself
        return hints

    # The reader's thread calls these; an exception would end it.

    def on_event(self, event: InotifyEvent) -> None:
        """Turn one event into a hint."""
        try:
            self._note(event)
        except Exception:
            logger.exception(tr("an event could not be read; the inboxes are looked through now"))
            self._lose()

    def on_queue_overflow(self) -> None:
        """Note that the kernel dropped events."""
        self._lose()

    def on_watch_deleted(self, wd: int) -> None:
        """Note a watch that the kernel ended: its folder was deleted or unmounted."""
        with self._lock:
            self._ended.append(wd)
            self._hints.moved = True
        self._wake()

    def _note(self, event: InotifyEvent) -> None:
        if event.mask & _GONE:
            with self._lock:
                self._moved.append(event.wd)
                self._hints.moved = True
            self._wake()
            return
        watch = self._watches.get(event.wd)
        if watch is None or not event.name:
            return
        name = os.fsdecode(event.name)
        if event.is_directory:
            if not event.mask & _ARRIVED or is_temporary_name(name) or is_left_alone(name):
                return
            kind = Kind.FOLDER
        elif is_candidate(name) or is_lone_raw(f"{watch.path.rstrip('/')}/{name}"):
            kind = Kind.CLOSED if event.mask & _CLOSED else Kind.CREATED
        else:
            return
        self._add(f"{watch.path.rstrip('/')}/{name}", kind)

    def _add(self, path: str, kind: Kind) -> None:
        with self._lock:
            paths = self._hints.paths
            known = paths.get(path)
            full = known is None and len(paths) >= self._limit
            if not full:
                paths[path] = kind if known is None else max(kind, known)
        if full:
            self._lose()
        else:
            self._wake()

    def _lose(self) -> None:
        with self._lock:
            self._hints.lost = True
        self._wake()

    def _disarm(self, descriptor: int) -> None:
        folder = self._forget(descriptor)
        if folder is not None:
            self._inotify.unwatch(folder.watch)

    def _forget(self, descriptor: int) -> _Folder | None:
        watch = self._watches.pop(descriptor, None)
        if watch is not None and self._by_identity.get(watch.identity) == descriptor:
            del self._by_identity[watch.identity]
        return watch


def reason_to_poll(remote: str | None, *, asked_for: bool, has_events: bool) -> str | None:
    """Say why an inbox is polled from the start; None where events do. ``remote``: the kind of its share."""
    if asked_for:
        return tr("asked for")
    if not has_events:
        return tr("no inotify instance")
    return None if remote is None else tr("{kind} brings no events from other hosts", kind=remote)


def sentence_of_polling(inbox: str, error: OSError, watched: int, seconds: float) -> str:
    """Say why an inbox is polled every so many seconds after all, with so many of its folders ``watched``."""
    reason = error.strerror or str(error)
    if error.errno != errno.ENOSPC:
        return tr(
            "inbox '{path}' is polled every {poll:g} s: {polled}, so it brings no events",
            path=inbox,
            poll=seconds,
            polled=reason,
        )
    return tr(
        "inbox '{path}' is polled every {poll:g} s: {polled}, after {watched} folders; raise it with "
        "`{command}` and start again",
        path=inbox,
        poll=seconds,
        polled=reason,
        watched=watched,
        command=_RAISE_WATCHES,
    )
