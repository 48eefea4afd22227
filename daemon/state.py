"""Where the daemon keeps what must outlast it, and the locks that keep two daemons off one inbox."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from models.errors import UserError
from models.homes import base_folder
from models.ownership import make_file, make_folder


def state_folder(given: Path | None) -> Path:
    """The folder given in the settings, else systemd's ``$STATE_DIRECTORY``, else the XDG base directory for state."""
    if given is not None:
        return given
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    return base_folder("XDG_STATE_HOME", ".local/state", "--state-dir") / "imagesortd"


def journal_path(state: Path, output: Path) -> Path:
    """The journal of everything that is filed into ``output``: one for each output folder, however it is spelled."""
    return state / _name(output.resolve()) / "journal.sqlite"


def lock(state: Path, folders: Iterable[Path]) -> ExitStack:
    """Hold a lock for each folder until the returned stack is closed.

    The lock is on the folder itself, so it holds whatever the folder is called and wherever the other daemon keeps its
    state. But an open folder keeps its file system from being unmounted: on any other than that of the state folder
    (open anyway) or of ``/`` (never unmounted), a file in the state folder stands for the folder, by its identity.
    Another one is locked by its name: for file systems that lock no folders, and for one that is made again.

    Raises `UserError` when another daemon holds one of them, or when the state folder cannot be written.
    """
    held = ExitStack()
    taken: set[tuple[int, int]] = set()
    locks = state / "locks"
    try:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            _lock(_open(locks / _name(folder), held), folder)
            if (found := _find(folder)) is None or (identity := (found.st_dev, found.st_ino)) in taken:
                continue  # nothing is there to be at work on, or it is another name of one that is locked
            taken.add(identity)
            if found.st_dev in (Path("/").stat().st_dev, locks.stat().st_dev):
                _lock_itself(folder, held)
            else:
                _lock(_open(locks / f"device-{found.st_dev}-inode-{found.st_ino}", held), folder)
    except BaseException:
        held.close()
        raise
    return held


def _find(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:
        return None


def _open(path: Path, held: ExitStack) -> int:
    try:
        make_folder(path.parent)
        descriptor = make_file(path, 0o644)
    except OSError as error:
        raise UserError(
            f"the state folder {path.parent} cannot be written ({error.strerror}): "
            "give a writable one with --state-dir or IMAGESORTD_STATE_DIR"
        ) from error
    held.callback(os.close, descriptor)
    return descriptor


def _lock_itself(folder: Path, held: ExitStack) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # it may not be read
    held.callback(os.close, descriptor)
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
