"""Where the daemon keeps what must outlast it, and the locks that keep two daemons off one inbox."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from models.errors import UserError


def state_folder(given: Path | None) -> Path:
    """The folder given in the settings, else systemd's ``$STATE_DIRECTORY``, else the XDG base directory for state."""
    if given is not None:
        return given.expanduser().absolute()
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "imagesortd"


def journal_path(state: Path, output: Path) -> Path:
    """The journal of everything that is filed into ``output``: one for each output folder, however it is spelled."""
    return state / _name(output.resolve()) / "journal.sqlite"


def lock(state: Path, folders: Iterable[Path]) -> ExitStack:
    """Hold a lock for each folder until the returned stack is closed.

    The lock is on the folder itself, so it holds whatever the folder is called and wherever the other daemon keeps its
    state; what is mounted there stays mounted meanwhile. A file in the state folder is locked, too: for folders of file
    systems that lock none, and for one that is taken away and made again.

    Raises `UserError` when another daemon holds one of them, or when the state folder cannot be written.
    """
    held = ExitStack()
    taken: set[tuple[int, int]] = set()
    try:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            _lock(_open(state / "locks" / _name(folder), held), folder)
            _lock_itself(folder, taken, held)
    except BaseException:
        held.close()
        raise
    return held


def _open(path: Path, held: ExitStack) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(
            f"the state folder {path.parent} cannot be written ({error.strerror}): "
            "give a writable one with --state-dir or IMAGESORTD_STATE_DIR"
        ) from error
    held.callback(os.close, descriptor)
    return descriptor


def _lock_itself(folder: Path, taken: set[tuple[int, int]], held: ExitStack) -> None:
    """Lock a folder; ``taken`` are those that are locked already, which may be the same one mounted twice."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, or may not be read: there is nothing to be at work on
    held.callback(os.close, descriptor)
    stat = os.fstat(descriptor)
    if (stat.st_dev, stat.st_ino) in taken:
        return
    taken.add((stat.st_dev, stat.st_ino))
    with suppress(OSError):  # NFS locks only what is open for writing, which no folder can be
        _lock(descriptor, folder)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"another daemon is at work on {folder}: stop it first, or give another folder") from error


def _name(resolved: Path) -> str:
    """A file name for a folder: its own, and what tells it from others of that name."""
    return f"{resolved.name}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:12]}"
