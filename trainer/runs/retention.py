"""Remove old runs.

The newest runs stay, as many as the user wants, and so do the current run, the one that ``rollback`` goes back to, and
every run that a running daemon uses, which holds a shared lock (flock) on its checkpoint. Files and folders that no fit
has made stay as well.
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

from models.checkpoints.checkpoint import FILE_NAME, POINTER
from models.files.atomic import sync_folder
from models.text.language import tr
from trainer.runs.folder import METRICS

#: The number of runs that stay by default.
KEEP = 20

#: The prefixes of a run that is being removed, and of a pointer that was never finished.
_REMOVED, _UNFINISHED = ".removed.", f".{POINTER}."


@contextlib.contextmanager
def publishing_lock(folder: Path) -> Iterator[None]:
    """Lock publishing in ``folder``: one program at a time moves the pointer or removes runs.

    The kernel releases the lock when the program ends. On a file system without locks this does nothing.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def retain(folder: Path, keep: int, needed: Iterable[str]) -> list[str]:
    """Remove all but the newest ``keep`` runs (0: remove none) and the ``needed`` ones; return the names removed.

    Call it under the `publishing_lock`. What a killed removal or publication left behind is removed too.
    """
    _clean(folder)
    if keep == 0:
        return []
    needed_names = set(needed)
    old = sorted(_runs(folder), key=_creation_order, reverse=True)[keep:]
    return [run.name for run in old if run.name not in needed_names and _remove(run)]


def newest(folder: Path) -> Path | None:
    """Return the newest run; None if there is none."""
    return max(_runs(folder), key=_creation_order, default=None) if folder.is_dir() else None


def _runs(folder: Path) -> list[Path]:
    """Return the folders that a fit has made."""
    folders = [path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_symlink()]
    return [path for path in folders if (path / FILE_NAME).is_file() and (path / METRICS).is_file()]


def _creation_order(run: Path) -> tuple[int, str]:
    """Return a key that sorts runs by age: the time of the checkpoint, which is written only once."""
    return (run / FILE_NAME).stat().st_mtime_ns, run.name


def _remove(run: Path) -> bool:
    """Remove a run unless it is in use; at every moment it is either complete or not under its name."""
    try:
        descriptor = os.open(run / FILE_NAME, os.O_RDWR | os.O_CLOEXEC)  # NFS locks only files open for writing
    except OSError as error:
        logger.warning(tr("the old run {name} stays: {reason}", name=run.name, reason=error.strerror))
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden = Path(tempfile.mkdtemp(dir=run.parent, prefix=_REMOVED))
        run.rename(hidden)  # a rename may replace an empty folder
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
