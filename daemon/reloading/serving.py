"""Keep track of the model in use: a new one is on probation, and the one before is kept until that is passed.

Nothing is loaded here. `daemon.reloading.reloader` loads the models, and asks `Serving.step_back` whether the one
before is to be used again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from loguru import logger

from daemon.filing.outcome import Outcome
from daemon.reloading.checkpoint_history import CheckpointHistory
from daemon.reloading.checkpoint_source import CheckpointFile, Leases
from daemon.reloading.probation import MEMORY, Observation, Probation
from daemon.reloading.threshold import alike
from models.classifier import Classifier
from models.text.language import tr


@dataclass(frozen=True)
class Model:
    """A checkpoint in memory, and the file that it came from."""

    file: CheckpointFile
    classifier: Classifier

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint file."""
        return self.classifier.digest


@dataclass(frozen=True)
class _Trial:
    """A probation, and the model to go back to."""

    probation: Probation
    before: Model


class Serving:
    """Model in use, what it made of its last images, and the model to go back to.

    Models that are in use, or may be again, are leased, so that the trainer does not remove their files.
    """

    def __init__(self, history: CheckpointHistory, leases: Leases) -> None:
        self._history = history
        self._leases = leases
        self._model: Model | None = None
        self._recent: deque[Observation] = deque(maxlen=MEMORY)
        self._trial: _Trial | None = None
        self._model_to_restore: Model | None = None  # by the next `step_back`, after a failed probation

    @property
    def model(self) -> Model | None:
        """Model in use; None before the first."""
        return self._model

    @property
    def on_probation(self) -> bool:
        """Whether the model in use has yet to prove itself."""
        return self._trial is not None

    @property
    def classes(self) -> list[str]:
        """Classes of the model in use and of the one to go back to: either may be used next."""
        return [name for model in self._in_memory() for name in model.classifier.classes]

    def use_as_good(self, model: Model) -> None:
        """Use a model from now on, and remember it as the last good one."""
        self._history.approve(model.file, model.digest)
        self.use(model)

    def use(self, model: Model) -> None:
        """Use a model from now on, without a probation and without calling it good."""
        self._trial, self._model = None, model
        self.keep_leases()

    def remember(self, seen: Iterable[Observation]) -> None:
        """Remember what the model in use made of earlier images, oldest first."""
        self._recent.extend(seen)

    def try_out(self, model: Model, images: int) -> None:
        """Use another model: on probation for ``images`` images, unless it is known or there is none to go back to."""
        before = self._trial.before if self._trial else self._model
        if before is None or not images or self._history.is_good(model.digest):
            self.use_as_good(model)
            return
        insisted = self._history.is_insisted_on(model.file)
        if not alike(before.classifier.metadata, model.classifier.metadata):
            self._recent.clear()  # a model with a stricter threshold is right to send more images to the others
        probation = Probation(images, [] if insisted else list(self._recent), model.classifier.classes)
        self._model, self._trial = model, _Trial(probation, before)
        self.keep_leases()

    def outcome(self, outcome: Outcome) -> None:
        """Judge a model on probation by the outcome of an image."""
        label, confidence = outcome.label, outcome.confidence
        if label is None or confidence is None or outcome.destination is None or self._model_to_restore is not None:
            return
        seen = Observation(label, outcome.fate is None or not outcome.fate.is_of_class)
        if self._trial is None:
            self._recent.append(seen)
            return
        probation = self._trial.probation
        fault = probation.fault(seen, confidence)
        if fault is not None:
            self._give_up(self._trial, fault)
        elif probation.passed:
            assert self._model is not None
            self.use_as_good(self._model)
            self._recent.extend(probation.seen)

    def failed(self, error: Exception) -> None:
        """Note that the model in use could not classify a batch, which a model on probation may not do even once."""
        if self._trial is not None:
            fault = tr("it failed with {kind}: {error}", kind=type(error).__name__, error=error)
            self._give_up(self._trial, fault)

    def _give_up(self, trial: _Trial, fault: str) -> None:
        assert self._model is not None
        bad, good = self._model, trial.before
        self._history.reject(bad.file, bad.digest, fault)
        self._trial, self._model_to_restore = None, good
        logger.error(
            tr(
                "back to checkpoint {digest} from {before}: {fault}; to use {before} all the same, publish it once "
                "more",
                digest=good.digest[:12],
                before=bad.digest[:12],
                fault=fault,
            ),
        )

    def step_back(self) -> Model | None:
        """Use the model before again if the one in use has failed its probation; return it, once."""
        model, self._model_to_restore = self._model_to_restore, None
        if model is not None:
            self.use(model)
        return model

    def use_history(self, history: CheckpointHistory) -> None:
        """Use the history of another location of checkpoints; a probation ends without a result."""
        self._history, self._trial = history, None

    def keep_leases(self) -> None:
        """Lease the models in memory and the last good checkpoint, and nothing else."""
        good = self._history.good
        paths = [model.file.path for model in self._in_memory()]
        if good is not None:
            paths.append(good.path)
        for path in paths:
            self._leases.take(path)
        self._leases.keep(paths)

    def _in_memory(self) -> list[Model]:
        held = [self._model, self._trial.before if self._trial else None, self._model_to_restore]
        return [model for model in held if model is not None]
