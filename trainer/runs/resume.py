"""Save the progress of a fit, so that the same fit can resume after an interruption.

Saved are a marker that the fit began, and how far fine-tuning got; features are in their own cache. The files lie in
the local cache under a key made of the settings, so that only the same fit finds them, and go when the fit is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from loguru import logger

from models.files.atomic import atomic_file
from models.text.language import tr
from models.weights.store import WeightsStore

#: Progress that was not resumed for so long is removed.
MAX_AGE_S = 14 * 24 * 3600.0

#: The pause between two saves, in multiples of the time that the last one took.
SAVE_PAUSE_FACTOR = 20

_STATE = "state"


@dataclass(frozen=True)
class SavedProgress:
    """Arrays by name, and all other state as JSON values."""

    arrays: Mapping[str, npt.NDArray[Any]]
    state: dict[str, Any]


class UnfinishedFit:
    """The saved progress of one fit, identified by its ``settings``."""

    def __init__(self, store: WeightsStore, settings: Mapping[str, object]) -> None:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:32]
        self._folder = store.folder("unfinished")
        self._partial = f".{key}.*"
        self._begun = self._folder / f"{key}.json"
        self._progress = self._folder / f"{key}.safetensors"
        self._saved_at, self._saving_s = 0.0, 0.0

    def begin(self, *, resume: bool) -> bool:
        """Record that the fit begins; return whether it resumes an interrupted one."""
        self._remove_old()
        resumes = resume and self._begun.is_file()
        if not resumes:
            self.finish()
        with contextlib.suppress(OSError), atomic_file(self._begun) as file:
            file.write(b"{}\n")
        return resumes

    def finish(self) -> None:
        """Remove all saved progress."""
        for path in (self._begun, self._progress, *self._folder.glob(self._partial)):
            with contextlib.suppress(OSError):
                path.unlink()

    def is_due(self) -> bool:
        """Whether the pause since the last `save` was long enough for another; True at first."""
        return time.monotonic() - self._saved_at >= SAVE_PAUSE_FACTOR * self._saving_s

    def save(self, progress: SavedProgress) -> None:
        """Save progress in place of earlier progress; where the disk is full, warn and go on."""
        from safetensors.numpy import save

        began = time.monotonic()
        try:
            with atomic_file(self._progress) as file:
                file.write(save(dict(progress.arrays), {_STATE: json.dumps(progress.state)}))
        except OSError as error:
            logger.warning(
                tr(
                    "the progress of fine-tuning is not saved ({folder}: {reason}): --resume would repeat these epochs",
                    folder=self._folder,
                    reason=error.strerror,
                ),
            )
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - began

    def load(self) -> SavedProgress | None:
        """Load saved progress; None where there is none, or none that can be read."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._progress, "numpy") as file:
                state = json.loads(file.metadata()[_STATE])
                return SavedProgress({name: file.get_tensor(name) for name in file.keys()}, state)  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def _remove_old(self) -> None:
        oldest = time.time() - MAX_AGE_S
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def unfinished_fit(store: WeightsStore, data_dir: Path | None, settings: Mapping[str, object]) -> UnfinishedFit:
    """Return the saved progress of a fit of that folder; settings that do not change the result are left out."""
    relevant = {name: value for name, value in settings.items() if name not in _IRRELEVANT}
    return UnfinishedFit(store, {**relevant, "data_dir": None if data_dir is None else str(data_dir.resolve())})


_IRRELEVANT = {
    "resume",
    "publish",
    "keep",
    "cache_dir",
    "cache_size",
    "keep_features",
    "output_dir",
    "data_dir",
    "max_error",
    "threshold",
}
