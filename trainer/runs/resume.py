"""What an interrupted fit leaves for the next one: that it began, and how far its fine-tuning had come.

Features need nothing of this: they are in the cache, whoever asks for them. It is kept in the local cache under a key
made of the settings, so that only the same fit goes on with it, and it is removed when the fit is done.
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

from models.atomic import atomic_file
from models.text.language import tr
from models.weights import WeightsStore

#: What nobody has come back to for so long is removed.
KEPT_S = 14 * 24 * 3600.0

#: Keeping takes at most one in so many parts of the time: what is quickly computed is not worth more.
SPARED = 20

_STATE = "state"


@dataclass(frozen=True)
class SavedProgress:
    """Arrays by name, and whatever else is JSON."""

    arrays: Mapping[str, npt.NDArray[Any]]
    state: dict[str, Any]


class UnfinishedFit:
    """The place of one fit, known by its ``settings``."""

    def __init__(self, store: WeightsStore, settings: Mapping[str, object]) -> None:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:32]
        self._folder = store.folder("unfinished")
        self._partial = f".{key}.*"
        self._begun = self._folder / f"{key}.json"
        self._progress = self._folder / f"{key}.safetensors"
        self._saved_at, self._saving_s = 0.0, 0.0

    def begin(self, *, resume: bool) -> bool:
        """Note that the fit begins; returns whether an earlier one was interrupted that it is to go on with."""
        self._forget_old()
        found = resume and self._begun.is_file()
        if not found:
            self.finish()
        with contextlib.suppress(OSError), atomic_file(self._begun) as file:
            file.write(b"{}\n")
        return found

    def finish(self) -> None:
        """Leave nothing to go on with."""
        for path in (self._begun, self._progress, *self._folder.glob(self._partial)):
            with contextlib.suppress(OSError):
                path.unlink()

    def is_due(self) -> bool:
        """Whether enough time has passed since the last `save` to spend some on another; at first it has."""
        return time.monotonic() - self._saved_at >= SPARED * self._saving_s

    def save(self, progress: SavedProgress) -> None:
        """Keep how far it has come, in place of what was kept before; where the disk is full, warn and go on."""
        from safetensors.numpy import save

        began = time.monotonic()
        try:
            with atomic_file(self._progress) as file:
                file.write(save(dict(progress.arrays), {_STATE: json.dumps(progress.state)}))
        except OSError as error:
            logger.warning(
                tr(
                    "how far fine-tuning has come is not kept ({folder}: {reason}): --resume would repeat these epochs",
                    folder=self._folder,
                    reason=error.strerror,
                ),
            )
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - began

    def load(self) -> SavedProgress | None:
        """How far it had come; None where nothing was kept, or nothing that can be read."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._progress, "numpy") as file:
                state = json.loads(file.metadata()[_STATE])
                return SavedProgress({name: file.get_tensor(name) for name in file.keys()}, state)  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def _forget_old(self) -> None:
        oldest = time.time() - KEPT_S
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def place_of(store: WeightsStore, data_dir: Path, settings: Mapping[str, object]) -> UnfinishedFit:
    """Where a fit of that folder with these settings keeps its progress; what changes no number does not count."""
    counted = {name: value for name, value in settings.items() if name not in _UNCOUNTED}
    return UnfinishedFit(store, {**counted, "data_dir": str(data_dir.resolve())})


_UNCOUNTED = {"resume", "publish", "keep", "cache_dir", "cache_size", "output_dir", "data_dir", "max_error"}
