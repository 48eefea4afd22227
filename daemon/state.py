"""Find the daemon's state folder and its control socket, and lock inboxes against other daemons."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from loguru import logger

from daemon.files.inbox_mark import InboxMark
from daemon.files.locks import busy, holders, lock_descriptor
from daemon.files.output_mark import OUTPUT_MARK
from models.errors import UserError
from models.files.homes import base_folder
from models.files.ownership import make_file, make_folder
from models.text.language import tr

#: What the daemon writes how it is into, beside its journal.
STATUS_FILE = "status.json"
#: What commands speak to the daemon through.
CONTROL_SOCKET = "control.sock"
#: Bytes of the longest path of a socket: struct sockaddr_un has room for 108, with a zero at the end.
LONGEST_SOCKET_PATH = 107
#: Where the unit's StateDirectory= is.
SYSTEM_STATE = Path("/var/lib/imagesortd")
#: Where systemd makes the RuntimeDirectory= of the machine's units and of a user's. A unit may have another name.
SYSTEM_RUNTIME = Path("/run")
_RUNTIME_NAMES = "imagesortd*"
#: Letters of a path's hash in names of files.
_HASH = 12


def state_folder(given: Path | None) -> Path:
    """Return the folder in the settings, else systemd's ``$STATE_DIRECTORY``, else the XDG base directory for state."""
    if given is not None:
        return given
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    return base_folder("XDG_STATE_HOME", ".local/state", "--state-dir") / "imagesortd"


def state_folders(given: Path | None) -> list[Path]:
    """List the state folders that a running daemon may have: that of this user, or else that of the unit."""
    own = state_folder(given)
    return [own] if given is not None or own == SYSTEM_STATE else [own, SYSTEM_STATE]


def journal_path(state: Path, output: Path) -> Path:
    """Return the path of the journal for ``output``: one for each folder, however it is spelled."""
    return state / _name(output.resolve()) / "journal.sqlite"


def find_journal(given: Path | None, output: Path) -> Path | None:
    """Find the journal for ``output`` in the state folders; None without one, as far as this user can see."""
    paths = (journal_path(state, output) for state in state_folders(given))
    return next((path for path in paths if os.access(path, os.F_OK)), None)


def journal_of(given: Path | None, output: Path) -> Path:
    """Return where the journal for ``output`` is, or where a daemon of this user would begin it."""
    return find_journal(given, output) or journal_path(state_folder(given), output)


def is_locked(state: Path, output: Path | None) -> bool:
    """Whether a daemon holds the lock of its output, as it does from its start on; None asks for any daemon.

    Nothing is locked for that, which would be in the way of one that is just starting.
    """
    with suppress(OSError):
        locks = list((state / "locks").iterdir()) if output is None else [state / "locks" / _name(output.resolve())]
        return any(holders(file.stat().st_ino) for file in locks)
    return False


def lock(state: Path, folders: Iterable[Path]) -> ExitStack:
    """Hold a lock for each folder until the returned stack is closed.

    Files in the state folder, which nobody else may enter, stand for the folder: one for its name, since it may be made
    again, and one for its identity, since it may have several names. For a daemon that keeps its state elsewhere the
    folder itself is locked, too. But an open folder keeps its file system from being unmounted, so that is only done on
    that of the state folder (open anyway) and of ``/`` (never unmounted). And everybody who may read a folder may lock
    it, so that only a lock of this user, of root or of the folder's owner counts.

    The lock of the output, on whatever drive it lies, is `daemon.files.output_mark`, that of an inbox on a drive or
    share `daemon.files.inbox_mark`. Raises `FolderBusy` when another
    daemon holds one of them, `UserError` when the state folder cannot be written.
    """
    held = ExitStack()
    taken: set[tuple[int, int]] = set()
    locks = state / "locks"
    try:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            _lock(_open(locks / _name(folder), held), folder)
            if (status := _status(folder)) is None or (identity := (status.st_dev, status.st_ino)) in taken:
                continue  # nothing is there to be at work on, or it is another name of one that is locked
            taken.add(identity)
            if status.st_dev in (Path("/").stat().st_dev, locks.stat().st_dev):
                _lock_itself(folder, held)
            else:
                _lock(_open(locks / f"device-{status.st_dev}-inode-{status.st_ino}", held), folder)
    except BaseException:
        held.close()
        raise
    return held


def refuse_inbox_at_work(folder: Path) -> None:
    """Raise `FolderBusy` where a daemon watches a folder; nothing is locked, and nothing written."""
    if _status(folder / OUTPUT_MARK) is None:  # an output is locked in the same way, and may be read by anybody
        with ExitStack() as held:
            _lock_itself(folder, held)
    InboxMark(folder, folder).check()


def _status(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:
        return None


def _open(path: Path, held: ExitStack) -> int:
    try:
        make_folder(path.parent)
        if os.geteuid() in (0, path.parent.stat().st_uid):
            path.parent.chmod(0o700)  # or else everybody may lock what is inside
        descriptor = make_file(path, 0o600)
    except OSError as error:
        raise UserError(
            tr(
                "the state folder {parent} cannot be written ({reason}): give a writable one with "
                "--state-dir or IMAGESORTD_STATE_DIR",
                parent=path.parent,
                reason=error.strerror,
            )
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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            status = os.fstat(descriptor)
            if holders(status.st_ino) & {os.geteuid(), 0, status.st_uid}:
                raise busy(folder) from None
            logger.warning(
                tr(
                    "ignoring a lock on {folder} that none of this user's daemons holds",
                    folder=folder,
                )
            )


def _lock(descriptor: int, folder: Path) -> None:
    if not lock_descriptor(descriptor):
        raise busy(folder)


def _name(resolved: Path) -> str:
    """Make a file name for a folder: its own name, and a hash of its path."""
    return f"{resolved.name}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:_HASH]}"


def status_path(state: Path, output: Path) -> Path:
    """Return the path of the status file of the daemon that files into ``output``."""
    return journal_path(state, output).with_name(STATUS_FILE)


def control_path(state: Path, output: Path) -> Path:
    """Return the path of the control socket of a daemon that is started here and files into ``output``.

    That is in systemd's ``$RUNTIME_DIRECTORY``, else in the state folder.
    """
    if systemd := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(systemd.split(":")[0]) / CONTROL_SOCKET
    return _control_path(state, output)


def _control_path(state: Path, output: Path) -> Path:
    """Return a path beside the journal, or directly in the state folder where the name of the output is long."""
    path = journal_path(state, output).with_name(CONTROL_SOCKET)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    return state / f"{_name(output.resolve()).rpartition('-')[2]}.sock"


def control_paths(state: Path, output: Path) -> list[Path]:
    """List where the control socket of the daemon with that state folder and output may be."""
    return list(dict.fromkeys([control_path(state, output), _control_path(state, output)]))


def running_control_paths(state: Path) -> list[Path]:
    """List the control sockets of all daemons with that state folder, and of all that systemd started here."""
    users = {os.geteuid()}
    with suppress(OSError):
        users.add(state.stat().st_uid)  # whose service root asks for
    found = [*_glob(state, f"*/{CONTROL_SOCKET}"), *_glob(state, f"{'[0-9a-f]' * _HASH}.sock")]
    runtime = [SYSTEM_RUNTIME, *(SYSTEM_RUNTIME / "user" / str(user) for user in sorted(users))]
    if own := os.environ.get("XDG_RUNTIME_DIR"):
        runtime.append(Path(own))
    for folder in runtime:
        found += _glob(folder, f"{_RUNTIME_NAMES}/{CONTROL_SOCKET}")
    return list(dict.fromkeys(found))


def _glob(folder: Path, pattern: str) -> list[Path]:
    """List what is in a folder, as far as this user may see it."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
