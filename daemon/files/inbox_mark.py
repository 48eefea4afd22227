"""The hidden file in an inbox on a drive or share: it says which daemon is at work there.

A lock in the state folder keeps daemons of one state apart, and a lock of the folder itself those of one machine, but
that would keep a drive from being unmounted, and a share knows no locks of folders (`daemon.state.lock`). There daemons
meet at this file. Strangers may write into an inbox, so that it is as well without it: what is not surely a daemon's is
said, and stops nobody.
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
from models.ownership import make_file
from models.text.language import tr

#: In the inbox. Its name is that of no image, and hidden.
INBOX_MARK = ".imagesortd-inbox"

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: On a drive others may read who is there: whoever locks it is seen. On a share that may be anybody, anywhere.
_MODE, _MODE_ON_SHARES = 0o644, 0o600
#: How often the file may be another one than was opened, since somebody has left.
_TRIES = 5


class InboxMark:
    """The mark of one inbox, as one daemon sees it; ``state`` is where that keeps its state."""

    def __init__(self, inbox: Path, state: Path) -> None:
        self.inbox = inbox
        self._path = inbox / INBOX_MARK
        self._state = state
        self._descriptor: int | None = None
        self._ours: tuple[int, int, int] | None = None
        self._said = ""

    def take(self, *, make: bool = True) -> None:
        """Say that this daemon is at work here, where that can be said. Raises `FolderBusy` where another one is.

        It costs next to nothing to say it again. With ``make`` False an inbox without a mark gets none.
        """
        if self._ours is not None and self._ours == self._find():
            return
        self._let_go()
        share = self._share_of_several()
        if share is None:
            return
        for _ in range(_TRIES):
            try:
                descriptor = self._open(_MODE_ON_SHARES if share else _MODE, make=make)
            except OSError as error:
                self._look_from_outside(error)
                return
            try:
                if not self._is_to_be_used(descriptor):
                    return
                self._lock(descriptor)
                if self._find() != _identify(os.fstat(descriptor)):
                    continue  # whoever was here has just left, and removed it
                self._write(descriptor)
                if share:
                    self._descriptor = descriptor
                return
            finally:
                if descriptor != self._descriptor:
                    close(descriptor)

    def check(self) -> None:
        """Raise `FolderBusy` where another daemon is at work here, without saying that this one is."""
        with suppress(OSError):
            descriptor = os.open(self._path, _FLAGS)
            try:
                if self._is_to_be_used(descriptor):
                    self._lock(descriptor)
            finally:
                close(descriptor)
            return
        self._look_from_outside(None)

    def release(self) -> None:
        """Remove the mark, if it is still this daemon's."""
        ours = self._ours
        if ours is not None and ours == self._find():
            with suppress(OSError):
                self._path.unlink()
        self._let_go()

    def _let_go(self) -> None:
        self._ours = None
        if self._descriptor is not None:
            close(self._descriptor)
            self._descriptor = None

    def _find(self) -> tuple[int, int, int] | None:
        try:
            return _identify(self._path.lstat())
        except OSError:
            return None

    def _share_of_several(self) -> bool | None:
        """Whether the inbox is on a share, rather than on a drive; None where a lock of the folder is enough."""
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
        found = os.fstat(descriptor)
        if is_mark(found) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
            with suppress(OSError):
                os.fchmod(descriptor, mode)
        return descriptor

    def _look_from_outside(self, error: OSError | None) -> None:
        """Nothing can be written there. Raise `FolderBusy` where somebody is seen to be at work all the same."""
        try:
            found = self._path.lstat()
        except OSError:
            if error is not None:
                logger.debug("the inbox {} gets no mark: {}", self.inbox, error.strerror)
            return
        if not is_mark(found):
            self._say_foreign()
            return
        if found.st_uid not in trusted_owners(self.inbox):
            return
        content: Mapping[str, object] = {}
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = read_mark(descriptor)
            finally:
                close(descriptor)
        if is_another(content) or holders(found.st_ino) & trusted_owners(self.inbox):
            raise busy(self.inbox, content.get("pid"), content.get("host"))

    def _is_to_be_used(self, descriptor: int) -> bool:
        """Whether it is a mark, of somebody whose daemon counts; what else lies there is left, and said once."""
        found = os.fstat(descriptor)
        if not is_mark(found):
            self._say_foreign()
            return False
        if found.st_uid not in trusted_owners(self.inbox):
            self._say(
                tr(
                    "ignoring {path}: it belongs to {user}, and neither to this user nor to the owner of the folder; "
                    "delete it if no daemon of that user is at work there",
                    path=self._path,
                    user=user_name(found.st_uid),
                )
            )
            return False
        return True

    def _lock(self, descriptor: int) -> None:
        """Raise `FolderBusy` unless this process may be the one that is at work."""
        content = read_mark(descriptor)
        is_locked = not lock_descriptor(descriptor)
        if is_locked:
            users = holders(os.fstat(descriptor).st_ino)
            if users and not users & trusted_owners(self.inbox):
                self._say(tr("ignoring a lock on {folder} that none of this user's daemons holds", folder=self._path))
                is_locked = False
        if is_locked or is_another(content):
            raise busy(self.inbox, content.get("pid"), content.get("host"))

    def _write(self, descriptor: int) -> None:
        ours = oneself()
        if read_mark(descriptor) != ours:
            write_mark(descriptor, ours)
        self._ours = _identify(os.fstat(descriptor))
        self._said = ""

    def _say_foreign(self) -> None:
        self._say(tr("{path} is not a file of this program: delete it", path=self._path))

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            logger.warning("{}", sentence)


def _identify(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, found.st_mtime_ns
