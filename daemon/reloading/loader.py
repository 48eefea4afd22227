"""Load a published checkpoint: prove it and warm it up, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from daemon.config import Settings
from daemon.reloading.checkpoint_source import CheckpointFile, CheckpointSource, checkpoint_file
from daemon.reloading.memory import require_room
from models.classifier import Classifier, open_classifier
from models.decoding.images import Transform
from models.errors import CheckpointError
from models.inference.devices import Device, Precision
from models.inference.runtime import cores
from models.starter import Language, starter_path
from models.text.language import tr
from models.weights.store import WeightsStore

#: Seconds to wait at the end for a graph to be set up; a download of weights takes longer, and is abandoned.
_SET_UP_SECONDS = 2.0

#: Where checkpoints are published unless somebody says otherwise; the folder may be made later.
_DEFAULT_LOCATION: Path = Settings.model_fields["checkpoint"].default


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """Settings for finding and opening checkpoints.

    ``batch``: how many images to classify beforehand, since the first ones take longer. ``was_named``: somebody named
    the location, so it must be there. ``reserved``: folder names that no class may have. ``outputs``: those that the
    daemon files into, the main one first. ``probation``: how many images of a new model are watched.
    """

    location: Path
    language: Language = "en"
    threads: int = 0
    precision: Precision = "float32"
    device: Device = "cpu"
    batch: int = 8
    was_named: bool = False
    reserved: Sequence[str] = ()
    outputs: tuple[Path, ...] = (Path(),)
    probation: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> CheckpointOptions:
        """Take what concerns loading from the settings."""
        return cls(
            location=settings.checkpoint,
            language="ko" if settings.language == "ko" else "en",
            threads=settings.threads or cores(),
            precision=settings.precision,
            device=settings.device,
            batch=settings.batch_size,
            was_named=settings.checkpoint != _DEFAULT_LOCATION.absolute(),
            outputs=tuple(settings.outputs),
            reserved=settings.other_folders,
            probation=settings.probation_images,
        )

    @property
    def source(self) -> CheckpointSource:
        """Where checkpoints are published."""
        return CheckpointSource(self.location, was_named=self.was_named)


@dataclass(frozen=True)
class CheckpointOpener:
    """Opens checkpoints with one set of options."""

    options: CheckpointOptions
    store: WeightsStore

    def open(
        self,
        path: Path,
        digest: str,
        reuse: Classifier | None,
        on_transforms: Callable[[Sequence[Transform]], None] | None = None,
    ) -> Classifier:
        """Read, prove and warm up a checkpoint; the rest is as for `open_classifier`."""
        options = self.options
        if path.exists():
            require_room(path)
        classifier = open_classifier(
            path,
            self.store,
            threads=options.threads,
            precision=options.precision,
            device=options.device,
            sha256=digest,
            reuse=reuse,
            on_transforms=on_transforms,
        )
        check_names(options.location, classifier.classes, options.reserved)
        if options.batch and (reuse is None or classifier.extractor is not reuse.extractor):
            sides = [transform.crop for transform in classifier.transforms]
            classifier.probabilities([np.zeros((options.batch, side, side, 3), np.uint8) for side in sides])
        return classifier

    def starter(self) -> CheckpointFile:
        """Return the starter model, which is used while nothing is published."""
        return checkpoint_file(starter_path(self.store, self.options.language, threads=self.options.threads))


class NameTaken(CheckpointError):
    """The settings give a folder for other images the name of a class: nothing is wrong with the checkpoint."""


class ComingClassifier(Classifier):
    """A classifier that is being loaded: its transforms are known long before it can predict.

    Every other attribute blocks until the classifier is loaded, and raises the error if loading failed.
    """

    def __init__(self, open_it: Callable[[Callable[[Sequence[Transform]], None]], Classifier]) -> None:
        """``open_it`` runs in a thread, and gets the ``on_transforms`` of `open_classifier`."""
        # The `__init__` of `Classifier` is not called: what it would set comes from `__getattr__`.
        self._transforms: Future[Sequence[Transform]] = Future()
        self._classifier: Future[Classifier] = Future()
        self._thread = threading.Thread(target=self._open, args=(open_it,), name="open", daemon=True)
        self._thread.start()

    def _open(self, open_it: Callable[[Callable[[Sequence[Transform]], None]], Classifier]) -> None:
        try:
            classifier = open_it(self._transforms.set_result)
        except Exception as error:
            if not self._transforms.done():
                self._transforms.set_exception(error)
            self._classifier.set_exception(error)
        else:
            self._classifier.set_result(classifier)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        return tuple(self._transforms.result())

    def __getattr__(self, name: str) -> Any:
        """Block until the classifier is loaded, and ask it."""
        return getattr(self._classifier.result(), name)

    def wait(self) -> None:
        """Block until the classifier is loaded; raise the error if loading failed."""
        self._classifier.result()

    def close(self) -> None:
        """To be called before the program ends: a library must not be left in the middle of setting itself up."""
        self._thread.join(_SET_UP_SECONDS)


class CheckpointLoading(threading.Thread):
    """Loads one checkpoint in a thread."""

    def __init__(
        self,
        file: CheckpointFile,
        opening: CheckpointOpener,
        reuse: Classifier | None,
        flush: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        """Two callbacks run in the thread: ``flush`` before it begins, ``ended`` once `is_over` is true."""
        super().__init__(name="reload", daemon=True)
        self.file = file
        self.classifier: Classifier | None = None
        self.error: Exception | None = None
        self._opening = opening
        self._reuse = reuse
        self._over = threading.Event()
        self._flush = flush
        self._ended = ended

    @property
    def is_over(self) -> bool:
        """Whether there is a classifier or an error."""
        return self._over.is_set()

    def run(self) -> None:
        try:
            self._flush()
            self.classifier = self._opening.open(self.file.path, self.file.digest, self._reuse)
        except Exception as error:  # whatever a published file provokes, the service goes on with what it has
            self.error = error
        self._over.set()
        self._ended()


def check_names(location: Path, classes: Sequence[str], reserved: Sequence[str]) -> None:
    """Raise `NameTaken` where a class of the checkpoint has, or lies in, a folder for other images."""
    folders = {name.casefold(): name for name in reserved}
    for name in dict.fromkeys(path.partition("/")[0] for path in classes):
        if (taken := folders.get(name.casefold())) is not None:
            raise NameTaken(
                tr(
                    "the checkpoint {location} has a class {name}, and the folder {taken} is for other images: give "
                    "others_dir, quarantine_dir or duplicates_dir another name, or go back with python -m trainer "
                    "rollback",
                    location=location,
                    name=name,
                    taken=taken,
                )
            )
