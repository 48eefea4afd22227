"""Retention: which runs stay on disk. Removed are only old ones that nobody can need in a hurry.

The newest ones stay, so many as are asked for; besides them the current run, the one that ``rollback`` goes back to,
and every one that a running daemon uses, which holds a shared lock (flock) on its checkpoint. So does whatever is in
the folder that no fit has made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from loguru import logger

from models.atomic import sync_folder
from models.checkpoint import FILE_NAME, POINTER
from models.text.language import tr
from trainer.runs.folder import METRICS

#: Runs that stay, where nobody says how many.
KEEP = 20

#: What a run is called while it is being removed, and what a pointer is called that was never finished.
_REMOVED, _UNFINISHED = ".removed.", f".{POINTER}."


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock on publishing in ``folder``: one program at a time points somewhere, or removes runs.

    The kernel gives it back when the program ends. A file system without locks has none.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def retain(folder: Path, keep: int, needed: Iterable[str]) -> list[str]:
    """Remove all but the newest ``keep`` runs (0: none) and those ``needed``; returns the names of those removed.

    To be called by who is `alone` there. What an earlier removal or publication left when it was killed goes, too.
    """
    _clean(folder)
    if keep == 0:
        return []
    stay = set(needed)
    old = sorted(_runs(folder), key=_made, reverse=True)[keep:]
    return [run.name for run in old if run.name not in stay and _remove(run)]


def newest(folder: Path) -> Path | None:
    """The run that was made last there, if there is one."""
    return max(_runs(folder), key=_made, default=None) if folder.is_dir() else None


def _runs(folder: Path) -> list[Path]:
    """The folders that a fit has made."""
    folders = [path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_symlink()]
    return [path for path in folders if (path / FILE_NAME).is_file() and (path / METRICS).is_file()]


def _made(run: Path) -> tuple[int, str]:
    """What tells older runs from newer ones: a checkpoint is written once."""
    return (run / FILE_NAME).stat().st_mtime_ns, run.name


def _remove(run: Path) -> bool:
    """Remove one run, unless it is in use; at every instant it is there as a whole, or not under its name."""
    try:
        descriptor = os.open(run / FILE_NAME, os.O_RDWR | os.O_CLOEXEC)  # NFS locks what is open for writing
    except OSError as error:
        logger.warning(tr("the old run {name} stays: {reason}", name=run.name, reason=error.strerror))
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden = Path(tempfile.mkdtemp(dir=run.parent, prefix=_REMOVED))
        run.rename(hidden)  # an empty folder may be replaced
        sync_folder(run.parent)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.warning(tr("the old run {name} stays: {reason}", name=run.name, reason=error.strerror))
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(hidden, ignore_errors=True)
    return True


def _clean(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.startswith(_REMOVED):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_UNFINISHED):
            path.unlink(missing_ok=True)
