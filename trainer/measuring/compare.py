"""Whether a new checkpoint is worse than the published one, on images that neither had seen when it classified them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.classifier import open_classifier
from models.errors import CheckpointError, UserError
from models.text.language import tr
from models.weights import WeightsStore
from trainer.data.dataset import File, Sample
from trainer.data.features import BATCH, Read, read_all, stacked
from trainer.measuring.measure import Measured
from trainer.measuring.split import read_split

#: With equally many right, a new checkpoint whose log-loss is higher by this much counts as worse.
_LOSS_MARGIN = 0.01

#: What is less probable counts as this much: so small a number is nothing in the six digits of ``split.csv``, which
#: would make the current run's mistakes worse than the same ones of a new run.
_LEAST = 1e-6

#: Images that only the current run never had are put to it now: at most so many, which takes some seconds.
MOST_PUT = 500

#: Whether a prediction was right, and the probability of the right class.
_Outcome = tuple[bool, float]


@dataclass(frozen=True)
class Verdict:
    """Whether to publish, and why in one sentence; ``publishable``: whether a user may do so all the same."""

    publish: bool
    why: str
    publishable: bool = True


def compare(folder: Path, samples: Sequence[Sample], measured: Measured, store: WeightsStore) -> Verdict:
    """Judge a new head by its ``measured`` predictions on judged ``samples`` against the run published in ``folder``.

    Both heads were at last fitted on all of their images, so what counts is what each made of an image before that,
    while it was held out: the current run's is in its ``split.csv``. Images that only the current run never had are
    put to it now; images it was fitted on are left out.
    """
    try:
        pointer = checkpoints.read_pointer(folder)
        if pointer is None:
            return Verdict(True, tr("nothing was published before"))
        current = checkpoints.load(folder)
    except CheckpointError as error:
        return Verdict(True, tr("the one published before cannot be used: {error}", error=error))
    if list(current.metadata.classes) != list(measured.classes):
        return Verdict(True, _other_classes(current.metadata.classes, measured.classes, pointer.run))
    outcomes = _outcomes(folder / pointer.run, current, samples, store)
    common = [at for at, outcome in enumerate(outcomes) if outcome is not None]
    if not common:
        return _by_record(current, measured, pointer.run)
    right = measured.predicted == measured.labels
    new = [(bool(right[at]), float(measured.true_probability[at])) for at in common]
    old = [outcome for outcome in outcomes if outcome is not None]
    return _judge(new, old, pointer.run)


def _other_classes(old: Sequence[str], new: Sequence[str], run: str) -> str:
    added, gone = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    changes = [tr("new: {names}", names=", ".join(added))] if added else []
    changes += [tr("gone: {names}", names=", ".join(gone))] if gone else []
    return tr(
        "its classes are not those of {run} ({changes}), so the two do not compare",
        run=run,
        changes="; ".join(changes) or tr("another order"),
    )


def _outcomes(run: Path, current: Checkpoint, samples: Sequence[Sample], store: WeightsStore) -> list[_Outcome | None]:
    """What the current run made of each sample while it had not been fitted on it; None where it was, or is unknown."""
    split = read_split(run)
    known = {} if split is None else split.held_out
    fitted = frozenset() if split is None else split.train | {sha256 for sha256, _ in split.held_out}
    outcomes: list[_Outcome | None] = [known.get((sample.sha256, sample.label)) for sample in samples]
    unseen = [at for at, sample in enumerate(samples) if sample.sha256 not in fitted]
    unseen = sorted(sorted(unseen, key=lambda at: samples[at].sha256)[:MOST_PUT])
    try:
        for at, outcome in zip(unseen, _classify(run, current, [samples[at] for at in unseen], store), strict=True):
            outcomes[at] = outcome
    except UserError:  # it cannot be run here any more: its record has to do
        pass
    return outcomes


def _classify(run: Path, current: Checkpoint, samples: Sequence[Sample], store: WeightsStore) -> list[_Outcome | None]:
    if not samples:
        return []
    classifier = open_classifier(run / checkpoints.FILE_NAME, store)
    outcomes: list[_Outcome | None] = [None] * len(samples)
    files = [File(sample.path, sample.name, sample.label) for sample in samples]
    waiting: list[tuple[int, Read]] = []

    def predict() -> None:
        probabilities = classifier.probabilities(stacked([read for _, read in waiting]))
        for (at, read), row in zip(waiting, probabilities, strict=True):
            true = current.metadata.classes.index(read.file.label)
            outcomes[at] = (int(row.argmax()) == true, float(row[true]))
        waiting.clear()

    for at, read in enumerate(read_all(files, classifier.transforms)):
        if read.error is None:
            waiting.append((at, read))
        if len(waiting) == BATCH:
            predict()
    if waiting:
        predict()
    return outcomes


def _judge(new: Sequence[_Outcome], old: Sequence[_Outcome], run: str) -> Verdict:
    new_right, old_right = (sum(right for right, _ in outcomes) for outcomes in (new, old))
    new_loss, old_loss = (
        float(np.mean([-np.log(max(probability, _LEAST)) for _, probability in outcomes])) for outcomes in (new, old)
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


def _by_record(current: Checkpoint, measured: Measured, run: str) -> Verdict:
    """No image is common to both, so each one's own held-out accuracy is all there is."""
    recorded, own = current.metadata.metrics.get("accuracy"), measured.figures().get("accuracy")
    if recorded is None:
        return Verdict(True, tr("there is no image to compare it with {run} on", run=run))
    if own is None:
        text = tr(
            "no image tells how right it is, and {run} has an accuracy of {accuracy:.3f} on held-out images",
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
