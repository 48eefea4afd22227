"""Read the kernel's events about folders, in a thread of watchdog's that never touches the disk.

This uses watchdog's inotify reader and not its ``Observer``, whose tree of watches costs what an inbox cannot
pay. Measured with watchdog 7.1: after a file is moved out of the inbox, which is what filing is, the event of the next
one arrives 400 ms late (an unmatched IN_MOVED_FROM holds the queue for half a second); arming lists the whole tree
before it returns; a watch limit reached below the root is swallowed; an overflow reaches the log and no handler.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import logging
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
    inotify_add_watch,
    inotify_init,
    inotify_rm_watch,
)

__all__ = [
    "EventQueue",
    "FolderIdentity",
    "Handler",
    "Inotify",
    "InotifyConstants",
    "InotifyEvent",
    "Mask",
    "QueuedEvent",
    "Watch",
    "identify",
]

logging.getLogger("watchdog").addHandler(
    logging.NullHandler()
)  # its problems are reported by this module, in our own log

FolderIdentity = tuple[int, int]  # (st_dev, st_ino)


class Handler(Protocol):
    """Methods called in the reader's thread, which an exception would end."""

    def on_event(self, event: InotifyEvent) -> None:
        """Something happened to the folder or in it."""

    def on_queue_overflow(self) -> None:
        """Note that the kernel dropped events."""

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Note that the kernel ended the watch: the folder was deleted or unmounted, and the number may be reused."""


class Watch(NamedTuple):
    """A watched folder: the kernel's number for it, and the reader's for its handler."""

    descriptor: WatchDescriptor
    callback: CallbackId


class Inotify:
    """An inotify instance and its reader. Raises `OSError` (EMFILE) where the kernel gives no more of them."""

    def __init__(self) -> None:
        self._callbacks = itertools.count(1)  # a new one each time: the reader complains of known ones
        self._reader = InotifyFD()
        self._reader.start()

    def is_alive(self) -> bool:
        """Whether events are still being read."""
        return self._reader.is_alive()

    def close(self) -> None:
        """Watch nothing any more, and wait for the reader's thread."""
        self._reader.stop()
        self._reader.join()

    def watch(self, folder: str | Path, mask: Mask, handler: Handler) -> Watch | None:
        """Watch one folder, not those in it; None where this process may not read it.

        A folder that is watched already, under this name or another, has the same descriptor.

        Raises:
            OSError: ENOSPC when the limit of watches is reached; the folder's own troubles.
        """
        callback = CallbackId(next(self._callbacks))
        watch = Watch(self._reader.add_callback(os.fsencode(folder), mask, handler, callback), callback)
        if watch.descriptor == -1:
            self.unwatch(watch)
            return None
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Stop watching a folder."""
        self._reader.remove_callbacks([watch])


class QueuedEvent(NamedTuple):
    """An event as the kernel gave it: the number of the folder's watch, what happened, and the name in the folder."""

    descriptor: int
    mask: int
    name: bytes


class EventQueue:
    """An inotify instance without a thread: the kernel keeps the events until they are read.

    For those who can wait: the events of half a second cost one wake-up, however many they are. Raises `OSError`
    (EMFILE).
    """

    #: What starts an event of the kernel: watch, mask, cookie, and the length of the name.
    _HEAD = struct.Struct("iIII")
    _BYTES = 1 << 18

    def __init__(self) -> None:
        self._descriptor = int(inotify_init())
        if self._descriptor == -1:
            raise _last_error()
        os.set_blocking(self._descriptor, False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._descriptor)

    def watch(self, folder: str | bytes, mask: int) -> int:
        """Watch one folder, and return its number, which is the same for every name that the folder has.

        Raises OSError: ENOSPC when the limit of watches is reached.
        """
        number = int(inotify_add_watch(self._descriptor, os.fsencode(folder), mask))
        if number == -1:
            raise _last_error()
        return number

    def unwatch(self, number: int) -> None:
        """Stop watching a folder; one that is not watched is none the worse."""
        inotify_rm_watch(self._descriptor, WatchDescriptor(number))

    def read(self) -> Iterator[QueuedEvent]:
        """Take the events so far; IN_Q_OVERFLOW stands for lost ones."""
        with suppress(BlockingIOError):
            while events := os.read(self._descriptor, self._BYTES):
                at = 0
                while at < len(events):
                    number, mask, _, length = self._HEAD.unpack_from(events, at)
                    at += self._HEAD.size + length
                    yield QueuedEvent(number, mask, events[at - length : at].rstrip(b"\0"))


def _last_error() -> OSError:
    code = ctypes.get_errno()
    if code == errno.ENOSPC:
        return OSError(code, "inotify watch limit reached")
    return OSError(code, os.strerror(code))


def identify(folder: str | Path) -> FolderIdentity | None:
    """Return device and inode of the folder with this name, through links too; None where there is none."""
    try:
        stat = Path(folder).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
