"""Look at what lessons begin from: the run in use, and whether the trainer may publish beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from models.checkpoints.checkpoint import FILE_NAME, read_metadata, read_pointer
from models.errors import CheckpointError
from models.text.language import tr


def find_obstacle(checkpoints: Path) -> str | None:
    """Say why no lesson can be given with these checkpoints, and what to do; None where nothing is known of any."""
    try:
        is_closed = checkpoints.is_dir() and not os.access(checkpoints, os.W_OK | os.X_OK)
    except OSError:  # it may not even be looked at
        is_closed = True
    if is_one_checkpoint(checkpoints):
        return tr(
            "{checkpoints} is one checkpoint, so nothing can be learned: give as checkpoint the folder that the "
            "trainer publishes to",
            checkpoints=checkpoints,
        )
    if is_closed:
        return tr(
            "the daemon may not write to {checkpoints}, so nothing can be learned: give its user the right to, and if "
            "it is a service, write the unit anew with python -m daemon unit --install",
            checkpoints=checkpoints,
        )
    return None


def is_one_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint file or the folder of a run, not a folder of runs."""
    with suppress(OSError):
        return path.is_file() or (path / FILE_NAME).exists()
    return False


def is_fitted_since(checkpoints: Path, moment: float, lesson: str | None) -> bool:
    """Whether the run in use was fitted after a moment (seconds since 1970), and is not the run of the last lesson.

    Such a run has learned from no label; that of a lesson, by whoever, was given some.
    """
    with suppress(CheckpointError, OSError, ValueError):
        pointer = read_pointer(checkpoints)
        if pointer is None or pointer.run == lesson:
            return False
        metadata = read_metadata(checkpoints / pointer.run / FILE_NAME)
        return "lesson" not in metadata.settings and datetime.fromisoformat(metadata.created).timestamp() > moment
    return False


def published_checkpoint(checkpoints: Path, run: str) -> str | None:
    """Return the sha256 of the checkpoint of a run; None where another one is published by now."""
    with suppress(CheckpointError):
        pointer = read_pointer(checkpoints)
        return pointer.sha256 if pointer is not None and pointer.run == run else None
    return None


def is_promise_wanted(checkpoints: Path) -> bool:
    """Whether a share of mistakes was asked of the run in use, so that a lesson needs what it can promise one by."""
    with suppress(CheckpointError, OSError):
        pointer = read_pointer(checkpoints)
        if pointer is not None:
            return read_metadata(checkpoints / pointer.run / FILE_NAME).max_error is not None
    return False
