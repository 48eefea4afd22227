"""Hidden file in an inbox on a drive or share: it says which daemon is at work there.

Elsewhere, locks keep daemons apart: one in the state folder, and one of the inbox folder itself (`daemon.state.lock`).
But an open folder keeps a drive from being unmounted, and shares have no locks of folders, so daemons use this file
there. Anybody may be able to write into an inbox: a file that is not clearly a daemon's is logged and ignored.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from loguru import logger

from daemon.files.locks import busy, holders, lock_descriptor
from daemon.files.mark_file import is_mark, read_mark, trusted_owners, user_name, write_mark
from daemon.files.mounts import remote_kind
from daemon.files.processes import is_another, oneself
from daemon.files.renaming import close
from models.files.ownership import make_file
from models.text.language import tr

#: In the inbox; hidden, and not the name of an image.
INBOX_MARK = ".imagesortd-inbox"

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: On a drive other users may open the file: `holders` tells who locks it. On a share nothing would.
_MODE, _MODE_ON_SHARES = 0o644, 0o600
#: How often the file may be removed, by a daemon that ends, before it is locked.
_TRIES = 5


class InboxMark:
    """Mark of one inbox, as one daemon sees it; ``state``: the state folder of the daemon."""

    def __init__(self, inbox: Path, state: Path) -> None:
        self.inbox = inbox
        self._path = inbox / INBOX_MARK
        self._state = state
        self._descriptor: int | None = None
        self._ours: tuple[int, int, int] | None = None
        self._last_warning = ""

    def take(self, *, make: bool = True) -> None:
        """Write that this daemon is at work here, where that is possible. Raises `FolderBusy` where another one is.

        Repeated calls cost one `lstat`. With ``make`` False an inbox without a mark gets none.
        """
        if self._ours is not None and self._ours == self._current_file():
            return
        self._forget()
        share = self._is_on_share()
        if share is None:
            return
        for _ in range(_TRIES):
            try:
                descriptor = self._open(_MODE_ON_SHARES if share else _MODE, make=make)
            except OSError as error:
                self._check_unwritable(error)
                return
            try:
                if not self._is_to_be_used(descriptor):
                    return
                self._lock(descriptor)
                if self._current_file() != _identify(os.fstat(descriptor)):
                    continue  # the daemon that was here has just ended, and removed it
                self._write(descriptor)
                if share:
                    self._descriptor = descriptor
                return
            finally:
                if descriptor != self._descriptor:
                    close(descriptor)

    def check(self) -> None:
        """Raise `FolderBusy` where another daemon is at work here; write nothing."""
        with suppress(OSError):
            descriptor = os.open(self._path, _FLAGS)
            try:
                if self._is_to_be_used(descriptor):
                    self._lock(descriptor)
            finally:
                close(descriptor)
            return
        self._check_unwritable(None)

    def release(self) -> None:
        """Remove the mark, if it is still this daemon's."""
        ours = self._ours
        if ours is not None and ours == self._current_file():
            with suppress(OSError):
                self._path.unlink()
        self._forget()

    def _forget(self) -> None:
        self._ours = None
        if self._descriptor is not None:
            close(self._descriptor)
            self._descriptor = None

    def _current_file(self) -> tuple[int, int, int] | None:
        try:
            return _identify(self._path.lstat())
        except OSError:
            return None

    def _is_on_share(self) -> bool | None:
        """Whether the inbox is on a share (True) or a drive (False); None where a lock of the folder is enough."""
        try:
            device = self.inbox.stat().st_dev
            local = {Path("/").stat().st_dev, self._state.stat().st_dev}
        except OSError:
            return None  # it is not there now
        if remote_kind(str(self.inbox)) is not None:
            return True
        return None if device in local else False

    def _open(self, mode: int, *, make: bool) -> int:
        if not make:
            return os.open(self._path, _FLAGS)
        descriptor = make_file(self._path, mode)
        status = os.fstat(descriptor)
        if is_mark(status) and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
            with suppress(OSError):
                os.fchmod(descriptor, mode)
        return descriptor

    def _check_unwritable(self, error: OSError | None) -> None:
        """Raise `FolderBusy` if another daemon is at work, as far as can be seen without opening the file to write."""
        try:
            status = self._path.lstat()
        except OSError:
            if error is not None:
                logger.debug("the inbox {} gets no mark: {}", self.inbox, error.strerror)
            return
        if not is_mark(status):
            self._warn_foreign()
            return
        if status.st_uid not in trusted_owners(self.inbox):
            return
        content: Mapping[str, object] = {}
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = read_mark(descriptor)
            finally:
                close(descriptor)
        if is_another(content) or holders(status.st_ino) & trusted_owners(self.inbox):
            raise busy(self.inbox, content.get("pid"), content.get("host"))

    def _is_to_be_used(self, descriptor: int) -> bool:
        """Whether the file is a mark of a trusted user; any other is logged once and ignored."""
        status = os.fstat(descriptor)
        if not is_mark(status):
            self._warn_foreign()
            return False
        if status.st_uid not in trusted_owners(self.inbox):
            self._warn_once(
                tr(
                    "ignoring {path}: it belongs to {user}, and neither to this user nor to the owner of the folder; "
                    "delete it if no daemon of that user is at work there",
                    path=self._path,
                    user=user_name(status.st_uid),
                )
            )
            return False
        return True

    def _lock(self, descriptor: int) -> None:
        """Lock the mark. Raises `FolderBusy` where another daemon has it."""
        content = read_mark(descriptor)
        is_locked = not lock_descriptor(descriptor)
        if is_locked:
            users = holders(os.fstat(descriptor).st_ino)
            if users and not users & trusted_owners(self.inbox):
                self._warn_once(
                    tr("ignoring a lock on {folder} that none of this user's daemons holds", folder=self._path)
                )
                is_locked = False
        if is_locked or is_another(content):
            raise busy(self.inbox, content.get("pid"), content.get("host"))

    def _write(self, descriptor: int) -> None:
        ours = oneself()
        if read_mark(descriptor) != ours:
            write_mark(descriptor, ours)
        self._ours = _identify(os.fstat(descriptor))
        self._last_warning = ""

    def _warn_foreign(self) -> None:
        self._warn_once(tr("{path} is not a file of this program: delete it", path=self._path))

    def _warn_once(self, sentence: str) -> None:
        if sentence != self._last_warning:
            self._last_warning = sentence
            logger.warning("{}", sentence)


def _identify(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns
