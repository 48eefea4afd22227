"""Hot reload: a published checkpoint is loaded aside, proved, and handed over; else the one in use stays."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from daemon.config import Settings
from models import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.engines import Device
from models.errors import CheckpointError, UserError
from models.runtime import Precision, cores
from models.starter import Language, starter_path
from models.weights import WeightsStore

#: After trouble that is not the checkpoint's own: weights out of reach, a full disk.
RETRY_SECONDS = 60.0

#: Where checkpoints are published unless somebody says otherwise; it may come into being later.
_USUAL: Path = Settings.model_fields["checkpoint"].default

_Signature = tuple[int, int, int] | None


class Reloader:
    """Owns the question which checkpoint is in use.

    `first` gives the classifier to begin with; `poll`, called between two batches, gives a newer one once it is
    loaded. Loading happens in a thread of its own, so no image waits for it.
    """

    def __init__(
        self,
        location: Path,
        store: WeightsStore,
        *,
        language: Language,
        threads: int = 0,
        precision: Precision = "float32",
        device: Device = "cpu",
        required: bool = False,
        reserved: Sequence[str] = (),
        serving: str = "",
    ) -> None:
        """``required``: the location must be there. ``reserved``: folder names that no class may have.

        ``serving`` is the digest of the checkpoint that is in use already.
        """
        self._location = location
        self._store = store
        self._language: Language = language
        self._threads = threads
        self._precision: Precision = precision
        self._device: Device = device
        self._required = required
        self._reserved = reserved
        self._retry_at: float | None = None
        self._said = ""
        self._seen: _Signature = None
        self._loading: threading.Thread | None = None
        self._loaded: Classifier | None = None
        self._digest = serving

    @classmethod
    def of(cls, settings: Settings, store: WeightsStore, *, serving: str = "") -> Reloader:
        """A reloader for the checkpoint that the settings name."""
        return cls(
            settings.checkpoint,
            store,
            language=settings.language,
            threads=settings.threads or cores(),
            precision=settings.precision,
            device=settings.device,
            required=settings.checkpoint != _USUAL.absolute(),
            reserved=(settings.others_dir, settings.quarantine_dir),
            serving=serving,
        )

    def first(self) -> Classifier:
        """The published checkpoint's classifier, or the starter model's while nothing is published.

        Raises `UserError` when what is published cannot be used.
        """
        self._seen = self._signature()
        location = self._location if self.is_published() else self._starter()
        classifier = self._open(location)
        self._digest = classifier.digest
        return classifier

    def _open(self, location: Path) -> Classifier:
        classifier = open_classifier(
            location, self._store, threads=self._threads, precision=self._precision, device=self._device
        )
        check_names(location, classifier.classes, self._reserved)
        return classifier

    def is_published(self) -> bool:
        """Whether there is a checkpoint to serve. Raises `CheckpointError` where one is missing that should be there.

        The starter's folders are not those of a trained model, so it does not step in for one by mistake.
        """
        location = self._location
        if location.suffix == ".safetensors" and not location.exists():
            raise CheckpointError(f"there is no checkpoint {location}: give a file that is there")
        if location.is_file() or (location / checkpoints.FILE_NAME).is_file():
            return True
        if checkpoints.read_pointer(location) is not None:
            return True
        if any(location.glob(f"*/{checkpoints.FILE_NAME}")):
            raise CheckpointError(
                f"{location} holds runs, but none of them is published: publish one with python -m trainer publish"
            )
        if self._required and not location.is_dir():
            raise CheckpointError(
                f"there is no checkpoint {location}: give a checkpoint file, a run folder or its parent; "
                "a folder that something will be published to must be there, too"
            )
        return False

    def _starter(self) -> Path:
        return starter_path(self._store, self._language, threads=self._threads)

    def poll(self) -> Classifier | None:
        """A newly published classifier, once, when it is ready; never waits.

        A checkpoint that is no good is said once and left; trouble that may pass is tried again after a while.
        """
        if self._loading is None:
            signature = self._signature()
            again = self._retry_at is not None and time.monotonic() >= self._retry_at
            if signature is not None and (signature != self._seen or again):
                self._seen, self._retry_at = signature, None
                self._loading = threading.Thread(target=self._load, name="reload", daemon=True)
                self._loading.start()
            return None
        if self._loading.is_alive():
            return None
        self._loading = None
        loaded, self._loaded = self._loaded, None
        if loaded is None or loaded.digest == self._digest:
            return None
        self._digest = loaded.digest
        return loaded

    def _load(self) -> None:
        try:
            self._loaded = self._open(self._location)
        except CheckpointError as error:
            logger.error("the model in use stays: {}", error)
        except UserError as error:
            self._try_later(str(error))
        except Exception as error:  # whatever a published file provokes, the service goes on with what it has
            self._try_later(f"loading the new one failed with {type(error).__name__}: {error}")

    def _try_later(self, trouble: str) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if trouble != self._said:
            self._said = trouble
            logger.error("the model in use stays, and the new one is tried again: {}", trouble)

    def _signature(self) -> _Signature:
        """What changes when something else is published; the content is only read when this has changed."""
        location = self._location
        for path in (location / checkpoints.FILE_NAME, location / checkpoints.POINTER, location):
            try:
                found = path.stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                return found.st_ino, found.st_size, found.st_mtime_ns
        return None


def check_names(location: Path, classes: Sequence[str], reserved: Sequence[str]) -> None:
    """Raise `CheckpointError` where a class of the checkpoint has the name of a folder for other images."""
    folders = {name.casefold(): name for name in reserved}
    for name in classes:
        if (taken := folders.get(name.casefold())) is not None:
            raise CheckpointError(
                f"the checkpoint {location} has a class {name}, and the folder {taken} is for other images: "
                "give others_dir or quarantine_dir another name"
            )


def describe_change(old: Classifier, new: Classifier) -> str:
    """What a swap means to people: the new model and which classes came and went, by name."""
    added = [name for name in new.classes if name not in set(old.classes)]
    removed = [name for name in old.classes if name not in set(new.classes)]
    parts = [f"{new.metadata.mode}, {len(new.classes)} classes"]
    if added:
        parts.append(f"new: {_some(added)}")
    if removed:
        parts.append(f"gone: {_some(removed)}")
    if not added and not removed:
        parts.append("the same classes")
    return "; ".join(parts)


def _some(names: list[str], limit: int = 12) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
