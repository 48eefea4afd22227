"""Tell whether a new checkpoint is worse than the published one.

They are compared on images that neither head had been fitted on when it predicted them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Checkpoint
from models.classifier import open_classifier
from models.errors import CheckpointError, UserError
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.data.dataset import File, Sample
from trainer.data.features import BATCH, ReadFile, read_all, stacked
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.split_file import LEAST_PROBABILITY, read_split

#: With equally many right, a new checkpoint whose log-loss is higher by this much counts as worse.
_LOSS_MARGIN = 0.01

#: The most images that the current run must classify for the comparison, which takes some seconds.
MAX_CLASSIFIED = 500

#: Whether a prediction was right, and the probability of the right class.
_Outcome = tuple[bool, float]


@dataclass(frozen=True)
class Verdict:
    """Whether to publish, and the reason in one sentence; ``publishable``: whether the user may publish it anyway."""

    publish: bool
    reason: str
    publishable: bool = True


def compare_with_published(
    folder: Path, samples: Sequence[Sample], predictions: LabelledPredictions, store: WeightsStore
) -> Verdict:
    """Compare ``predictions`` of a new head for judged ``samples`` with those of the run published in ``folder``.

    Both served heads are fitted on all of their images, so only predictions made while an image was held out count;
    the current run's are in its ``split.csv``. Images that are new to the current run are classified with it now;
    images that it was fitted on and never judged are left out.
    """
    try:
        pointer = checkpoints.read_pointer(folder)
        if pointer is None:
            return Verdict(True, tr("nothing was published before"))
        current = checkpoints.load(folder)
    except CheckpointError as error:
        return Verdict(True, tr("the one published before cannot be used: {error}", error=error))
    if list(current.metadata.classes) != list(predictions.classes):
        return Verdict(True, _class_changes(current.metadata.classes, predictions.classes, pointer.run))
    outcomes = _outcomes(folder / pointer.run, current, samples, store)
    common = [position for position, outcome in enumerate(outcomes) if outcome is not None]
    if not common:
        return _compare_records(current, predictions, pointer.run)
    new = [(bool(predictions.right[position]), float(predictions.true_probability[position])) for position in common]
    old = [outcome for outcome in outcomes if outcome is not None]
    return _compare_outcomes(new, old, pointer.run)


def _class_changes(old: Sequence[str], new: Sequence[str], run: str) -> str:
    added, removed = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    changes = [tr("new: {names}", names=", ".join(added))] if added else []
    changes += [tr("gone: {names}", names=", ".join(removed))] if removed else []
    return tr(
        "its classes are not those of {run} ({changes}), so the two cannot be compared",
        run=run,
        changes="; ".join(changes) or tr("another order"),
    )


def _outcomes(run: Path, current: Checkpoint, samples: Sequence[Sample], store: WeightsStore) -> list[_Outcome | None]:
    """Return the current run's out-of-fold outcome for each sample; None where it was fitted on that, or on failure."""
    split = read_split(run)
    recorded = {} if split is None else split.held_out
    fitted = frozenset() if split is None else split.never_held_out | {sha256 for sha256, _ in split.held_out}
    outcomes: list[_Outcome | None] = [recorded.get((sample.sha256, sample.label)) for sample in samples]
    unseen = [position for position, sample in enumerate(samples) if sample.sha256 not in fitted]
    unseen = sorted(sorted(unseen, key=lambda position: samples[position].sha256)[:MAX_CLASSIFIED])
    try:
        unseen_outcomes = _classify(run, current, [samples[position] for position in unseen], store)
        for position, outcome in zip(unseen, unseen_outcomes, strict=True):
            outcomes[position] = outcome
    except UserError:  # the current run no longer works here: its record must do
        pass
    return outcomes


def _classify(run: Path, current: Checkpoint, samples: Sequence[Sample], store: WeightsStore) -> list[_Outcome | None]:
    if not samples:
        return []
    classifier = open_classifier(run / checkpoints.FILE_NAME, store)
    outcomes: list[_Outcome | None] = [None] * len(samples)
    files = [File(sample.path, sample.name, sample.label) for sample in samples]
    waiting: list[tuple[int, ReadFile]] = []

    def predict() -> None:
        probabilities = classifier.probabilities(stacked([read for _, read in waiting]))
        for (position, read), row in zip(waiting, probabilities, strict=True):
            true = current.metadata.classes.index(read.file.label)
            outcomes[position] = (int(row.argmax()) == true, float(row[true]))
        waiting.clear()

    for position, read in enumerate(read_all(files, classifier.transforms)):
        if read.error is None:
            waiting.append((position, read))
        if len(waiting) == BATCH:
            predict()
    if waiting:
        predict()
    return outcomes


def _compare_outcomes(new: Sequence[_Outcome], old: Sequence[_Outcome], run: str) -> Verdict:
    new_right, old_right = (sum(right for right, _ in outcomes) for outcomes in (new, old))
    new_loss, old_loss = (
        float(np.mean([-np.log(max(probability, LEAST_PROBABILITY)) for _, probability in outcomes]))
        for outcomes in (new, old)
    )
    figures = tr(
        "of {count} images that neither had seen when it classified them, it has {right} right (log-loss {loss:.3f}), "
        "{run} {run_right} ({run_loss:.3f})",
        count=len(new),
        right=new_right,
        loss=new_loss,
        run=run,
        run_right=old_right,
        run_loss=old_loss,
    )
    worse = new_right < old_right or (new_right == old_right and new_loss > old_loss + _LOSS_MARGIN)
    return Verdict(not worse, figures)


def _compare_records(current: Checkpoint, predictions: LabelledPredictions, run: str) -> Verdict:
    """Compare the recorded held-out accuracies, where no image is common to both."""
    recorded, own = current.metadata.metrics.get("accuracy"), predictions.figures().get("accuracy")
    if recorded is None:
        return Verdict(True, tr("there is no image on which to compare it with {run}", run=run))
    if own is None:
        text = tr(
            "its accuracy is unknown, because no image was held out, and that of {run} is {accuracy:.3f}",
            run=run,
            accuracy=recorded,
        )
        return Verdict(False, text)
    text = tr(
        "its accuracy on its own held-out images is {own:.3f}, that of {run} on other ones {accuracy:.3f}",
        own=own,
        run=run,
        accuracy=recorded,
    )
    return Verdict(own >= recorded, text)
