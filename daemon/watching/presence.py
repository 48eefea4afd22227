"""Whether an inbox is there: its file system answers, it is a folder, and no other daemon is at work on it.

A share whose server does not answer must not hold up the other inboxes.
"""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from daemon.files.answers import Answering
from daemon.files.inotify import FolderIdentity


class PendingCall(NamedTuple):
    """Call to the file system of an inbox that has not returned yet, and since when."""

    inbox: str
    since: float


class Presence:
    """Checks of one inbox before its files are examined.

    ``claim`` keeps other daemons out, and is called again every ``pause`` seconds.
    """

    def __init__(self, path: str, claim: Callable[[], None], clock: Callable[[], float], pause: float) -> None:
        self._path = path
        self._claim = claim
        self._clock = clock
        self._pause = pause
        self._next_claim = 0.0
        self._asks = Answering(path)
        self.is_unresponsive = False  # its file system did not answer
        self.is_remote = True  # unless it is known not to be

    def answers(self) -> bool:
        """Whether the file system may be asked now; a local one is trusted to answer."""
        self.is_unresponsive = self.is_remote and not self._asks()
        return not self.is_unresponsive

    def identify(self) -> FolderIdentity:
        """Return the identity of the folder that is there. Raises OSError where there is none that may be read."""
        stat = Path(self._path).stat()
        if not modes.S_ISDIR(stat.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(self._path, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat.st_dev, stat.st_ino

    def claim(self, *, is_new: bool) -> None:
        """Keep other daemons out of the folder that is there. Raises `FolderBusy`."""
        if is_new or self._clock() >= self._next_claim:
            self._claim()
            self._next_claim = self._clock() + self._pause
