"""Write run folders: one for each fit, which appears complete or not at all and never changes afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from models.errors import UserError
from models.files.atomic import sync_folder
from models.files.ownership import GROUP_MODE, make_folder
from models.text.jsontext import json_text
from models.text.language import tr

#: The figures of a fit, and the sha256 of its checkpoint.
METRICS = "metrics.json"

_HIDDEN = ".run."

Setting = str | int | float | bool | None


def require_writable(folder: Path, option: str) -> None:
    """Raise `UserError` now, rather than after hours, if ``folder`` cannot be made or written to."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise UserError(tr("{folder} cannot be written to: give another {option}", folder=folder, option=option))


def create_run(
    checkpoints: Path, mode: str, now: datetime, fill: Callable[[Path], None], option: str = "--output-dir"
) -> Path:
    """Make ``checkpoints/<YYYYmmdd-HHMMSS-mode>``: ``fill`` writes into a hidden folder, which is then renamed.

    The name has the time of ``now`` in its own time zone. The group may write into it where it may into
    ``checkpoints``: whoever publishes next removes old runs. Hidden folders of fits that were killed are removed.
    Raises `UserError` when the folder cannot be written to, or is full; ``option`` is the one to give another.
    """
    try:
        make_folder(checkpoints)
        hidden, lock = _make_hidden(checkpoints)
    except OSError as error:
        raise UserError(
            tr(
                "{checkpoints} cannot be written to ({reason}): mend that, or give another {option}",
                checkpoints=checkpoints,
                reason=error.strerror,
                option=option,
            )
        ) from error
    try:
        _clean(checkpoints)
        hidden.chmod(0o755 | checkpoints.stat().st_mode & GROUP_MODE)
        fill(hidden)
        sync_folder(hidden)
        return _take_name(hidden, checkpoints / f"{now:%Y%m%d-%H%M%S}-{mode}")
    except OSError as error:
        raise UserError(
            tr(
                "the run cannot be written to {checkpoints} ({reason})",
                checkpoints=checkpoints,
                reason=error.strerror or error,
            )
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        os.close(lock)


def _make_hidden(checkpoints: Path) -> tuple[Path, int]:
    """Make a hidden folder; return it and a descriptor that locks it (flock) as long as this process lives."""
    while True:
        hidden = Path(tempfile.mkdtemp(dir=checkpoints, prefix=_HIDDEN))
        lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without locks: nothing is ever removed there
            fcntl.flock(lock, fcntl.LOCK_EX)
        if hidden.is_dir():
            return hidden, lock
        os.close(lock)  # another fit removed it before it was locked


def _clean(checkpoints: Path) -> None:
    """Remove hidden folders that no process has locked."""
    for hidden in checkpoints.glob(f"{_HIDDEN}*"):
        with contextlib.suppress(OSError):
            lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(hidden, ignore_errors=True)
            finally:
                os.close(lock)


def _take_name(hidden: Path, name: Path) -> Path:
    """Rename to ``name``, with a number added where it is taken: a rename never replaces a folder that is not empty."""
    run, number = name, 2
    while True:
        try:
            hidden.rename(run)
        except FileExistsError:
            pass
        except OSError as error:
            if not run.exists():
                raise UserError(
                    tr("the run folder {run} cannot be made ({reason})", run=run, reason=error.strerror)
                ) from error
        else:
            sync_folder(run.parent)
            return run
        run, number = name.with_name(f"{name.name}-{number}"), number + 1


def write_settings(path: Path, settings: Mapping[str, Setting]) -> None:
    """Write settings as TOML, without those that have no value."""
    lines = [f"{name} = {_toml(value)}\n" for name, value in settings.items() if value is not None]
    path.write_text("".join(lines), encoding="utf-8")


def _toml(value: str | int | float | bool) -> str:
    if isinstance(value, str):  # TOML's basic strings are those of JSON, except for one control character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON, for people and programs."""
    path.write_text(json_text(content, indent=1) + "\n", encoding="utf-8")
