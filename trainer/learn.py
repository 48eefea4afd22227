"""Learn from people's labels: fit the head of the run in use again, with them, and publish it where that is better."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.errors import UserError
from models.markers import reserved_names
from models.metadata import Metadata
from models.ownership import make_file
from models.text.language import tr
from models.weights import WeightsStore
from trainer.data.cache import FeatureCache
from trainer.data.folds import NEVER
from trainer.learning.answers import Answers, find_answers
from trainer.learning.contradictions import contradiction_sentences, find_contradictions
from trainer.learning.files import FeaturesMissing, FileRecord, kept_record, read_features, read_labelled
from trainer.learning.gate import Recorded, judge, judge_before, read_recorded
from trainer.learning.kept import Half, KeptFeatures
from trainer.learning.labels import read_labels, read_learned
from trainer.learning.lesson import FittedLesson, fit_lesson, gather
from trainer.learning.record import Lesson, write_lesson
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds, thresholds_for
from trainer.reports.narrate import say
from trainer.runs.publish import Superseded, current_run, publish
from trainer.runs.retention import KEEP
from trainer.tables import listed

#: Locked while a lesson runs.
_LOCK = ".lesson.lock"
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """Options of ``learn``, named as on the command line."""

    checkpoints: Path = Path("checkpoints")
    labels: Path
    keep: int = KEEP
    cache_dir: Path | None = None


@dataclass(frozen=True)
class LearnOutcome:
    """The run of a lesson, where it was published, else None; why or why not; and figures for the JSON output.

    ``result`` names what came of it for programs.
    """

    run: Path | None
    reason: str
    figures: dict[str, Any]
    result: str = "published"


class NothingPublished(Exception):
    """The lesson ends without a new model; the message is the reason, in one sentence."""

    result = "refused"


class NothingNew(NothingPublished):
    """The run in use has learned from these labels already, or there are none."""

    result = "nothing new"


class LessonRuns(NothingPublished):
    """Another lesson is given in the same folder."""

    result = "busy"


def learn(options: LearnOptions) -> LearnOutcome:
    """Give a lesson: fit with the labels, judge, and publish if it is better. Raises `UserError`.

    Nothing is written before the lesson has passed, and then the run folder appears as a whole and is published at
    once: it can be killed at any moment and begun again. What was computed for the images is kept in the cache.
    """
    started = time.monotonic()
    figures: dict[str, Any] = {}
    try:
        with _only_lesson(options.checkpoints):
            run = _learn(options, figures)
    except (NothingPublished, Superseded) as error:
        say(tr("publishing"), tr("no lesson is published: {why}", why=error))
        result = error.result if isinstance(error, NothingPublished) else "superseded"
        return LearnOutcome(None, str(error), figures | {"seconds": round(time.monotonic() - started, 2)}, result)
    say(tr("published"), figures["why"])
    return LearnOutcome(run, figures["why"], figures | {"seconds": round(time.monotonic() - started, 2)})


@contextlib.contextmanager
def _only_lesson(folder: Path) -> Iterator[None]:
    """Keep other lessons for the same runs out; the kernel releases the lock when the program ends."""
    try:
        descriptor = make_file(folder / _LOCK, 0o644)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            tr("there is no folder {folder}: make a checkpoint with python -m trainer fit", folder=folder)
        ) from error
    except OSError as error:
        raise UserError(
            tr(
                "{checkpoints} cannot be written to ({reason}): give another --checkpoints",
                checkpoints=folder,
                reason=error.strerror,
            )
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LessonRuns(tr("another lesson runs in {folder} at this moment", folder=folder)) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Base:
    """The run in use with its checkpoint, and what it keeps and recorded of its images."""

    run: Path
    classifier: Classifier
    tuned: Mapping[str, Mapping[str, checkpoints.Array]]
    features: FileRecord
    kept: KeptFeatures
    labelled: Mapping[str, Half]
    recorded: Mapping[str, Recorded]

    @property
    def metadata(self) -> Metadata:
        return self.classifier.metadata

    @property
    def names(self) -> dict[str, str]:
        """The files of images by their sha256."""
        return {sha256: image.file for sha256, image in self.recorded.items()}


def _open_base(folder: Path, store: WeightsStore) -> _Base:
    """Open the run in use. Raises `UserError` where there is none that can learn."""
    name = current_run(folder)
    if name is None:
        raise FeaturesMissing(
            tr(
                "no run is published in {folder}, and the starter model cannot learn from labels: fit on folders of "
                "your own with python -m trainer fit",
                folder=folder,
            )
        )
    run = folder / name
    checkpoint = checkpoints.load(folder)
    features = kept_record(run)
    kept = read_features(run, features, checkpoint.metadata)
    labelled: Mapping[str, Half] = {}
    if "parent" in checkpoint.metadata.settings:
        labelled = read_labelled(run, kept_record(run, "labelled"), checkpoint.metadata).by_sha256
    classifier = open_classifier(run / checkpoints.FILE_NAME, store, sha256=checkpoint.digest)
    return _Base(run, classifier, checkpoint.backbones, features, kept, labelled, read_recorded(run))


def _learn(options: LearnOptions, figures: dict[str, Any]) -> Path:
    """Give the lesson and return its published run; ``figures`` are filled in on the way."""
    store = WeightsStore(options.cache_dir)
    base = _open_base(options.checkpoints, store)
    answers = _find_answers(base, options, store)
    figures["parent"] = base.run.name
    figures["labels"] = {name or "": count for name, count in answers.counts.items()}
    figures["left_out"] = list(answers.left_out)
    _report_answers(answers, base)
    earlier = read_learned(base.run)
    if not answers.by_sha256 and not earlier:
        raise NothingNew(tr("there is no label to learn from"))
    if earlier == answers.by_sha256:
        raise NothingNew(tr("{run} has learned from all these labels", run=base.run.name))

    classes = sorted({*base.kept.classes, *answers.classes})
    figures["classes"], figures["new_classes"] = classes, sorted(set(classes) - set(base.metadata.classes))
    fitted = _fit(base, answers, classes)
    lesson = _judged(base, answers, fitted, is_taken_back=bool(earlier.keys() - answers.by_sha256.keys()))
    figures["judged"], figures["why"] = lesson.judgement.figures, lesson.judgement.reason
    if not lesson.judgement.passed:
        raise NothingPublished(lesson.judgement.reason)
    if current_run(options.checkpoints) != base.run.name:
        raise Superseded(tr("another run was published in place of {run} meanwhile", run=base.run.name))
    run = write_lesson(lesson, base.tuned, _report(lesson))
    publish(run, store, keep=options.keep, after=base.run.name)
    return run


def _find_answers(base: _Base, options: LearnOptions, store: WeightsStore) -> Answers:
    given = read_labels(options.labels)
    with FeatureCache(base.classifier.extractor.parts, store) as cache:
        return find_answers(
            given,
            base.metadata.classes,
            reserved_names(options.checkpoints),
            base.labelled,
            set(base.kept.sha256),
            base.classifier.extractor,
            cache,
        )


def _report_answers(answers: Answers, base: _Base) -> None:
    names = {name: name if name is not None else tr("none of the classes") for name in answers.counts}
    counts = [
        f"{names[name]} {count}" for name, count in sorted(answers.counts.items(), key=lambda item: item[0] or "")
    ]
    text = tr(
        "{count} for {run}: {counts}", count=len(answers.by_sha256), run=base.run.name, counts=listed(counts, _LISTED)
    )
    say(tr("labels"), text)
    contradictions = find_contradictions(base.kept, answers.by_sha256, base.names)
    for sentence in [*contradiction_sentences(contradictions), *answers.left_out]:
        say("", sentence)


def _fit(base: _Base, answers: Answers, classes: Sequence[str]) -> FittedLesson:
    images = gather(base.kept, answers.by_sha256, answers.features, classes)
    if (images.folds == NEVER).all():
        raise NothingPublished(tr("there are too few images to judge a lesson by"))
    outputs = len(classes) + bool(images.is_negative.any())
    return fit_lesson(
        images,
        base.metadata.parts,
        base.kept.recipe,
        base.classifier.head.pretrained,
        _texts(base.kept, classes, outputs),
    )


def _texts(kept: KeptFeatures, classes: Sequence[str], outputs: int) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """Return what the head starts from; what is new starts from the mean of the others."""
    if kept.texts is None:
        return None
    rows = np.tile(kept.texts.mean(axis=0), (outputs, 1))
    for name, row in zip(kept.classes, kept.texts, strict=True):
        rows[classes.index(name)] = row
    return rows


def _judged(base: _Base, answers: Answers, fitted: FittedLesson, *, is_taken_back: bool) -> Lesson:
    """Find the threshold of a lesson, and judge it beside the head in use."""
    images = fitted.images
    predictions = fitted.predictions(images.is_trusted)
    contradictions = find_contradictions(base.kept, answers.by_sha256, base.names)
    thresholds = _thresholds(base.metadata, fitted, predictions, base.names)
    before = judge_before(base.recorded, base.classifier, fitted, answers.features)
    judgement = judge(fitted, base.kept, before, thresholds.threshold, is_taken_back=is_taken_back)
    return Lesson(
        base.run,
        base.classifier,
        fitted,
        answers,
        base.features,
        predictions,
        thresholds,
        judgement,
        base.names,
        contradictions,
    )


def _report(lesson: Lesson) -> list[str]:
    """Return the lines of the report: what was learned from, what that brings, and which threshold is in force."""
    return [
        tr("A lesson for {run}: {why}.", run=lesson.parent.name, why=lesson.judgement.reason),
        *contradiction_sentences(lesson.contradictions),
        *lesson.answers.left_out,
        *lesson.thresholds.sentences(lesson.predictions),
    ]


def _thresholds(
    base: Metadata, fitted: FittedLesson, predictions: LabelledPredictions, names: Mapping[str, str]
) -> Thresholds:
    """Return the thresholds that the images of the data set allow; where they allow no promise any more, the old one.

    What people corrected promises nothing, since it was mistaken by selection.
    """
    images = fitted.images
    rows = np.flatnonzero(images.is_trusted & fitted.judged)
    if not len(rows):
        return Thresholds(0, base.max_error, [], own=base.threshold)
    files = [names.get(images.sha256[row], images.sha256[row]) for row in rows.tolist()]
    found = thresholds_for(predictions, images.pictures[rows], base.max_error, files)
    if base.max_error is None:
        return replace(found, own=base.threshold)
    if found.kept_promise is None and base.kept_promise is not None:
        return replace(found, own=base.served_threshold)
    return found
