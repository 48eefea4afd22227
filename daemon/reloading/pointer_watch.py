"""Wake the work loop when a checkpoint may have been published, instead of at its next poll.

The kernel's events are only a reason to look: what is published is for `daemon.reloading.checkpoint_source` to tell,
which is polled every second in any case. So events may be lost or late, or tell only of changes made on this host, as
on a network file system: that costs a second, never a publication.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from daemon.files.inotify import FolderIdentity, Inotify, InotifyConstants, InotifyEvent, Mask, Watch, identify
from models.checkpoints.checkpoint import FILE_NAME, POINTER
from models.text.language import tr

_CAME = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CLOSE_WRITE
_LEFT = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT
_MASK = Mask(_CAME | _LEFT | InotifyConstants.IN_ONLYDIR)


class PointerWatch:
    """Watches the location where checkpoints are published, and the folder that it is in.

    ``wake`` is called in other threads than the caller's, and never again once `close` has returned.
    """

    def __init__(self, wake: Callable[[], None], *, events: bool = True) -> None:
        """Without ``events``, or where the kernel gives none, only `wake_loop` wakes the loop."""
        self._wake = wake
        self._lock = threading.Lock()
        self._closed = False
        self._complained = False
        self._watches: dict[Path, _Folder] = {}
        self._inotify = self._open() if events else None

    def wake_loop(self) -> None:
        """Wake the loop: there may be something to do. Safe in any thread."""
        with self._lock:
            if not self._closed:
                self._wake()

    def watch(self, location: Path) -> None:
        """Watch the folders that are at these paths now. To be called often: if nothing changed it costs two stats."""
        if self._inotify is None:
            return
        folders = {location: (POINTER, FILE_NAME), location.parent: (location.name,)}
        identities = {folder: identify(folder) for folder in folders}
        for folder, watch in list(self._watches.items()):
            if watch.ended or watch.identity != identities.get(folder):
                del self._watches[folder]
                self._disarm(self._inotify, watch)
        for folder, identity in identities.items():
            if identity is not None and folder not in self._watches:
                self._arm(self._inotify, folder, _Folder(folders[folder], identity, self.wake_loop))

    def close(self) -> None:
        """Stop watching; ``wake`` is not called again."""
        with self._lock:
            self._closed = True
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _open(self) -> Inotify | None:
        try:
            return Inotify()
        except OSError as error:
            self._complain(error)
            return None

    def _arm(self, inotify: Inotify, folder: Path, watch: _Folder) -> None:
        """Watch a folder. After a failure, the same folder is not tried again."""
        try:
            watch.kernel = inotify.watch(folder, _MASK, watch)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone, since it was looked at
        except OSError as error:
            self._complain(error)
        self._watches[folder] = watch

    def _disarm(self, inotify: Inotify, watch: _Folder) -> None:
        if watch.kernel is not None and not watch.ended:
            inotify.unwatch(watch.kernel)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            logger.info(
                tr(
                    "polling for checkpoints every second, without events: {reason}",
                    reason=error.strerror or error,
                )
            )


class _Folder:
    """One folder under watch; the kernel's reader calls the three ``on_`` methods."""

    def __init__(self, names: tuple[str, ...], identity: FolderIdentity, wake: Callable[[], None]) -> None:
        self.identity = identity
        self.kernel: Watch | None = None
        self.ended = False
        self._names = frozenset(map(os.fsencode, names))
        self._wake = wake

    def on_event(self, event: InotifyEvent) -> None:
        """Wake the loop for events about the names that matter, or about the folder itself."""
        if event.name in self._names or event.mask & _LEFT:
            self._wake()

    def on_queue_overflow(self) -> None:
        """Note that the kernel dropped events."""
        self._wake()

    def on_watch_deleted(self, wd: int) -> None:  # noqa: ARG002 - the reader's way of calling it
        """Note that the kernel ended the watch: the folder was deleted or unmounted, and the number may be reused."""
        self.ended = True
        self._wake()
