"""Hidden file in the output folder: it identifies the folder, and is locked while a daemon files into it.

A path is not enough: where a drive is not mounted, the empty mount point has the same path. So the file holds a random
number, which the state folder remembers. The file is on the drive, where daemons of other users and machines see it,
and only its owner can open it, so that nobody else can lock it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from daemon.files.locks import FolderBusy, busy, lock_descriptor
from daemon.files.mark_file import is_mark, read_mark, trusted_owners, user_name, write_mark
from daemon.files.mounts import remote_kind
from daemon.files.processes import is_another, oneself
from daemon.files.renaming import close
from models.files.atomic import atomic_file
from models.files.ownership import make_file
from models.text.language import tr

#: In the output folder; not to be confused with the marker of class folders.
OUTPUT_MARK = ".imagesortd-output"
#: Beside the journal: the number of the output folder that it belongs to.
REMEMBERED = "output-id"

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputAway(Exception):
    """The output folder is not the one that was filed into before; the sentence says what to do."""


class _Remembered(NamedTuple):
    """Number of an output folder, and the file system that it was on."""

    number: str
    file_system: str


class OutputMark:
    """Mark of one output folder, as one daemon sees it; ``memory`` is the folder of its journal."""

    def __init__(self, output: Path, memory: Path) -> None:
        self._output = output
        self._memory = memory / REMEMBERED
        self._descriptor: int | None = None
        self._number = ""
        self._seen: tuple[int, int] | None = None  # device and inode of the folder that was last verified

    def why_away(self) -> str | None:
        """Say what to do if the output is missing or another folder is in its place; None if it is there."""
        try:
            status = self._output.stat()
        except OSError:
            status = None
        if status is not None and (status.st_dev, status.st_ino) == self._seen:
            return None
        try:
            self._require_same(self._read_number())
        except OutputAway as away:
            self._seen = None
            return str(away)
        self._seen = None if status is None else (status.st_dev, status.st_ino)
        return None

    def had_another_name(self) -> bool:
        """Whether a journal beside this one remembers the folder that is there, and this one remembers none."""
        number = self._read_number()
        if number is None or self._recall() is not None:
            return False
        others = self._memory.parents[1].glob(f"*/{REMEMBERED}")
        return any(remembered.number == number for other in others if (remembered := _recalled(other)) is not None)

    def device_of(self, output: Path) -> int | None:
        """Return the file system that the output is on, inside `at_work`; None where it has no mark, or is another."""
        return None if self._descriptor is None or output != self._output else os.fstat(self._descriptor).st_dev

    @contextmanager
    def at_work(self, *, make: bool = True) -> Iterator[None]:
        """Keep every other daemon from filing into the output meanwhile.

        The lock is kept afterwards too, unless the output is on a drive, which could not be unmounted then. With
        ``make`` False an output without a mark gets none. Raises `OutputAway`, and `FolderBusy` where another daemon
        is at work.
        """
        self._acquire(make=make)
        try:
            yield
        finally:
            if self._descriptor is not None and not self._stays_mounted():
                self.release()

    def release(self) -> None:
        """Let other daemons file into the output."""
        if self._descriptor is not None:
            close(self._descriptor)
            self._descriptor = None

    def _acquire(self, *, make: bool) -> None:
        if self._descriptor is not None and self._is_held(self._descriptor):
            return
        self.release()
        self._require_same(self._read_number())
        if make:
            self._output.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = self._open(make=make)
        except PermissionError as error:
            self._raise_if_foreign(error)
            descriptor = None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FolderBusy(tr("{path} is not a file of this program: delete it", path=self._path)) from error
            logger.debug("the output folder {} is not locked: {}", self._output, error.strerror)
            descriptor = None
        if descriptor is None:
            return  # no lock can be had there; each transfer still takes an image only once
        try:
            self._lock(descriptor)
        except BaseException:
            close(descriptor)
            raise
        self._descriptor = descriptor

    @property
    def _path(self) -> Path:
        return self._output / OUTPUT_MARK

    def _is_held(self, descriptor: int) -> bool:
        """Whether the locked file is still the one in the folder: a person may have deleted it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except OSError:
            return False

    def _open(self, *, make: bool) -> int | None:
        if make:
            return make_file(self._path, 0o600)
        try:
            return os.open(self._path, _FLAGS)
        except FileNotFoundError:
            return None

    def _lock(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not is_mark(status):
            raise FolderBusy(tr("{path} is not a file of this program: delete it", path=self._path))
        if status.st_uid not in trusted_owners(self._output):
            self._raise_foreign(status.st_uid)
        content = read_mark(descriptor)
        if not lock_descriptor(descriptor) or is_another(content):
            raise busy(self._output, content.get("pid"), content.get("host"))
        self._require_same(_number(content))
        self._number = _number(content) or secrets.token_hex(16)
        ours = {"number": self._number} | oneself()
        if content != ours:
            write_mark(descriptor, ours)
        self._remember()

    def _raise_if_foreign(self, error: OSError) -> None:
        try:
            owner = self._path.lstat().st_uid
        except OSError:
            logger.debug("the output folder {} is not locked: {}", self._output, error.strerror)
            return
        if owner != os.geteuid():
            self._raise_foreign(owner)

    def _raise_foreign(self, owner: int) -> None:
        raise FolderBusy(
            tr(
                "{path} belongs to the user {user}: stop the daemon of that user; where there is none, delete this "
                "file",
                path=self._path,
                user=user_name(owner),
            )
        )

    def _stays_mounted(self) -> bool:
        """Whether the file system of the output is never unmounted: `/`, that of the state folder, a share."""
        try:
            device = self._output.stat().st_dev
            stays = {Path("/").stat().st_dev, self._memory.parent.stat().st_dev}
        except OSError:
            return False
        return device in stays or remote_kind(str(self._output)) is not None

    # --- which folder it is

    def _require_same(self, number: str | None) -> None:
        """Raise `OutputAway` unless ``number``, of the folder that is there, is the remembered one."""
        remembered = self._recall()
        if remembered is None or number == remembered.number:
            return
        if number is None and remembered.file_system == _file_system(self._output):
            return  # the folder was emptied, or deleted: it is still the same drive
        raise OutputAway(
            tr(
                "the output folder {output} is not the one that images were filed into before: mount its drive; or, "
                "if this is the right one, delete {memory}",
                output=self._output,
                memory=self._memory,
            )
        )

    def _read_number(self) -> str | None:
        """Read the number of the folder that is there; None where it has none, or none that can be read."""
        if self._descriptor is not None and self._is_held(self._descriptor):
            return self._number
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            remembered = self._recall()
            # It is another user's file; `_raise_if_foreign` reports that later.
            return None if remembered is None else remembered.number
        except OSError:
            return None
        try:
            return _number(read_mark(descriptor))
        finally:
            close(descriptor)

    def _recall(self) -> _Remembered | None:
        return _recalled(self._memory)

    def _remember(self) -> None:
        current = _Remembered(self._number, _file_system(self._output))
        if current == self._recall():
            return
        try:
            with atomic_file(self._memory) as file:
                file.write(json.dumps(current._asdict()).encode())
        except OSError as error:
            logger.warning(
                tr(
                    "cannot note in {memory} which output folder this is: {reason}",
                    memory=self._memory,
                    reason=error.strerror,
                )
            )


def _recalled(memory: Path) -> _Remembered | None:
    try:
        remembered = json.loads(memory.read_bytes())
        return _Remembered(str(remembered["number"]), str(remembered["file_system"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(content: dict[str, object]) -> str | None:
    number = content.get("number")
    return number if isinstance(number, str) and number else None


def _file_system(path: Path) -> str:
    """Identify the file system of a path across restarts, which device numbers do not."""
    while True:
        try:
            status = os.statvfs(path)
        except FileNotFoundError:
            path = path.parent
            continue
        except OSError:
            return ""
        return f"{status.f_fsid:x}-{0 if status.f_fsid else status.f_blocks * status.f_frsize:x}"
