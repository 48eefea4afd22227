"""Find the published checkpoint, again and again, at the cost of a few ``stat`` calls."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from models.checkpoints import checkpoint as checkpoints
from models.errors import CheckpointError
from models.text.language import tr

#: What tells one state of a file from another; None where there is no file.
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint file that may be served: the published one, the starter or the last good one.

    ``digest`` is the sha256 that it must have, "" where nothing says so. ``key`` stands for the file in this state and
    for this act of publishing it: when either changes, or it is published anew, so does the key.
    """

    path: Path
    digest: str
    key: str

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.path.parent.name if self.path.name == checkpoints.FILE_NAME else self.path.name


class CheckpointSource:
    """A checkpoint file, the folder of a run, or the folder that the trainer publishes to."""

    def __init__(self, location: Path, *, was_named: bool = False) -> None:
        """``was_named``: somebody named the location, so it must be there."""
        self.location = location
        self._was_named = was_named
        self._target: Path | None = None

    def stamp(self) -> tuple[_Stamp, ...]:
        """Return what changes when something else may be published. It needs no events, so any file system will do."""
        location = self.location
        paths = [location, location / checkpoints.FILE_NAME, location / checkpoints.POINTER]
        return tuple(map(_stamp, [*paths, *([self._target] if self._target else [])]))

    def find(self) -> CheckpointFile | None:
        """Find the published checkpoint; None where there is none. Raises `CheckpointError` where that is not known."""
        with _blamed_on(self.location):
            return self._find()

    def _find(self) -> CheckpointFile | None:
        location = self.location
        for path in (location, location / checkpoints.FILE_NAME):
            if path.is_file():
                return checkpoint_file(path)
        pointer = checkpoints.read_pointer(location)
        if pointer is None:
            return None
        self._target = location / pointer.run / checkpoints.FILE_NAME
        state = _stamp(self._target)
        if state is None:
            raise CheckpointError(
                tr(
                    "{location} names the run {run}, and there is no checkpoint {target}: publish another "
                    "run, or bring this one back",
                    location=location / checkpoints.POINTER,
                    run=pointer.run,
                    target=self._target,
                )
            )
        return CheckpointFile(
            self._target, pointer.sha256, f"{pointer.sha256} {pointer.published} {state[1]} {state[2]}"
        )

    def wants_starter(self) -> bool:
        """Whether somebody chose the starter model: that a pointer is missing may be an accident."""
        return checkpoints.is_starter_published(self.location)

    def find_or_raise(self) -> CheckpointFile | None:
        """Like `find`, but raises `CheckpointError` also where nothing is published that should be.

        The starter has other classes than a model of the user, so it must not replace one by mistake.
        """
        with _blamed_on(self.location):
            return self._find_or_raise()

    def _find_or_raise(self) -> CheckpointFile | None:
        location = self.location
        if location.suffix == ".safetensors" and not location.exists():
            raise CheckpointError(tr("there is no checkpoint {location}: give an existing file", location=location))
        published = self._find()
        if published is None and self.wants_starter():
            return None
        if published is None and any(location.glob(f"*/{checkpoints.FILE_NAME}")):
            raise CheckpointError(
                tr(
                    "{location} holds runs, but none of them is published: publish one with python -m trainer publish",
                    location=location,
                )
            )
        if published is None and self._was_named and not location.is_dir():
            raise CheckpointError(
                tr(
                    "there is no checkpoint {location}: give a checkpoint file, a run folder or its parent; "
                    "a folder that something will be published to must be there, too",
                    location=location,
                )
            )
        return published


@contextmanager
def _blamed_on(location: Path) -> Iterator[None]:
    """Turn an OSError into a CheckpointError: a dead mount or a forbidden folder does not mean that it is empty."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            tr("{location} cannot be read: {reason}", location=location, reason=error.strerror)
        ) from error


def checkpoint_file(path: Path) -> CheckpointFile:
    """Describe a checkpoint file, whatever it holds."""
    return CheckpointFile(path, "", str(_stamp(path)))


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class Leases:
    """Shared locks, flock(2), on the checkpoints in use: the trainer removes no run whose checkpoint is locked.

    The kernel gives them back when the process ends, however it ends. Where a file system has no locks there is no
    lease; even there the trainer removes neither the published run nor the one before.
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def take(self, path: Path) -> None:
        """Lock a file against removal, if the file system can."""
        if path in self._held:
            return
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise
            self._held[path] = descriptor

    def keep(self, paths: Iterable[Path]) -> None:
        """Release all leases but these."""
        for path in set(self._held).difference(paths):
            with suppress(OSError):
                os.close(self._held.pop(path))
