"""Where the daemon keeps what must outlast it, and the locks that keep two daemons off one inbox."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack
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
    """The journal of everything that is filed into ``output``: one for each output folder."""
    return state / f"{output.name}-{_key(output)}" / "journal.sqlite"


def lock(state: Path, folders: Iterable[Path]) -> ExitStack:
    """Hold a lock for each folder until the returned stack is closed.

    Raises `UserError` when another daemon holds one of them, or when the state folder cannot be written.
    """
    held = ExitStack()
    try:
        for folder in folders:
            _lock(state / "locks" / f"{folder.name}-{_key(folder)}", folder, held)
    except BaseException:
        held.close()
        raise
    return held


def _lock(path: Path, folder: Path, held: ExitStack) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(
            f"the state folder {path.parent} cannot be written ({error.strerror}): "
            "give a writable one with --state-dir or IMAGESORTD_STATE_DIR"
        ) from error
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"another daemon is at work on {folder}: stop it first, or give another folder") from error


def _key(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
