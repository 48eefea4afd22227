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

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier, open_classifier
from models.errors import UserError
from models.files.markers import reserved_names
from models.files.ownership import make_folder, make_shared_file
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.data.cache import FeatureCache
from trainer.data.folds import NEVER
from trainer.learning.adapting import adapt
from trainer.learning.answers import Answers, find_answers
from trainer.learning.audits import Audits, renew
from trainer.learning.contradictions import Contradiction, contradiction_sentences, find_contradictions
from trainer.learning.files import FileRecord, NoFeatures, kept_record, read_features, read_labelled
from trainer.learning.gate import NothingPublished, Recorded, judge, judge_before, read_recorded
from trainer.learning.kept import KeptFeatures, LabelledFeatures
from trainer.learning.labels import read_labels, read_learned
from trainer.learning.lesson import FittedLesson, fit_lesson, gather
from trainer.learning.origin import Origin, open_origin
from trainer.learning.record import Lesson, write_lesson
from trainer.learning.steadiness import read_filed
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import lapsed_levels
from trainer.measuring.thresholds import Thresholds, thresholds_for
from trainer.runs.publish import STARTER, STARTER_NAME, Superseded, current_run, publish
from trainer.runs.retention import KEEP
from trainer.tables import listed, say

#: Locked while a lesson runs.
_LOCK = ".lesson.lock"
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """Options of ``learn``, named as on the command line."""

    checkpoints: Path = Path("checkpoints")
    labels: Path
    filed: Path | None = None
    audited: Path | None = None
    given_up: str | None = None
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
        say(tr("publishing"), tr("not published: {why}", why=error))
        result = error.result if isinstance(error, NothingPublished) else "superseded"
        return LearnOutcome(None, str(error), figures | {"seconds": round(time.monotonic() - started, 2)}, result)
    say(tr("published"), figures["why"])
    return LearnOutcome(run, figures["why"], figures | {"seconds": round(time.monotonic() - started, 2)})


@contextlib.contextmanager
def _only_lesson(folder: Path) -> Iterator[None]:
    """Keep other lessons for the same runs out; the kernel releases the lock when the program ends."""
    try:
        make_folder(folder)  # a first lesson may be for the starter model
        descriptor = make_shared_file(folder / _LOCK)
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


@dataclass
class _Base:
    """The run in use with its checkpoint, and what it keeps and recorded of its images.

    The features that it keeps are given up once the lesson has them in single precision: a fit needs the memory.
    """

    run: Path
    classifier: Classifier
    tuned: Mapping[str, Mapping[str, checkpoints.Array]]
    features: FileRecord
    kept: KeptFeatures
    labelled: LabelledFeatures | None
    recorded: Mapping[str, Recorded]

    @property
    def metadata(self) -> Metadata:
        return self.classifier.metadata

    @property
    def names(self) -> dict[str, str]:
        """The files of images by their sha256."""
        return {sha256: image.file for sha256, image in self.recorded.items()}


def _run_in_use(folder: Path, given_up: str | None) -> str | None:
    """Return the name of the run that a lesson begins from; None for the starter model. Raises `UserError`.

    That is the published one, or where it is a lesson that the daemon has ``given_up``, the one that it came from and
    that is in use instead. Where that run is gone, nothing better is left than the published one.
    """
    pointer = checkpoints.read_pointer(folder)
    if pointer is None:
        return None
    run = folder / pointer.run
    if given_up is None or pointer.sha256 != given_up:
        return pointer.run
    parent = checkpoints.read_metadata(run / checkpoints.FILE_NAME).settings.get("parent")
    if parent == STARTER_NAME:
        return None
    is_there = isinstance(parent, str) and (folder / parent / checkpoints.FILE_NAME).is_file()
    return str(parent) if is_there else pointer.run


def _open_base(folder: Path, name: str | None, store: WeightsStore) -> _Base | None:
    """Open the run in use; None where none keeps the features of its images. Raises `UserError`."""
    if name is None:
        return None
    run = folder / name
    checkpoint = checkpoints.load(folder if name == current_run(folder) else run)
    try:
        features = kept_record(run)
    except NoFeatures:
        return None
    kept = read_features(run, features, checkpoint.metadata)
    labelled: LabelledFeatures | None = None
    if "parent" in checkpoint.metadata.settings:
        labelled = read_labelled(run, kept_record(run, "labelled"), checkpoint.metadata)
    classifier = open_classifier(run / checkpoints.FILE_NAME, store, sha256=checkpoint.digest)
    return _Base(run, classifier, checkpoint.backbones, features, kept, labelled, read_recorded(run))


def _learn(options: LearnOptions, figures: dict[str, Any]) -> Path:
    """Give the lesson and return its published run; ``figures`` are filled in on the way."""
    store = WeightsStore(options.cache_dir)
    after, name = current_run(options.checkpoints) or "", _run_in_use(options.checkpoints, options.given_up)
    base = _open_base(options.checkpoints, name, store)
    if base is None:
        origin = open_origin(options.checkpoints, name, store)
        lesson, tuned = _adapted(origin, options, store, figures), origin.tuned
    else:
        lesson, tuned = _fitted(base, options, store, figures), base.tuned
    figures["judged"], figures["why"] = lesson.judgement.figures, lesson.judgement.reason
    if not lesson.judgement.passed:
        raise NothingPublished(lesson.judgement.reason)
    if (current_run(options.checkpoints) or "") != after:
        raise Superseded(tr("another run was published in place of {run} meanwhile", run=after or tr(STARTER)))
    run = write_lesson(lesson, tuned, _report(lesson))
    publish(run, store, keep=options.keep, after=after)
    return run


def _fitted(base: _Base, options: LearnOptions, store: WeightsStore, figures: dict[str, Any]) -> Lesson:
    """Fit the head of a run that keeps the features of its images again."""
    answers = _find_answers(base.classifier, base.labelled, set(base.kept.sha256), options, store)
    earlier = read_learned(base.run)
    contradictions = find_contradictions(base.kept, answers.by_sha256, base.names)
    _note_answers(answers, earlier, base.run.name, figures, contradiction_sentences(contradictions))
    classes = sorted({*base.kept.classes, *answers.classes})
    figures["classes"], figures["new_classes"] = classes, sorted(set(classes) - set(base.metadata.classes))
    fitted = _fit(base, answers, classes)
    is_taken_back = bool(earlier.keys() - answers.by_sha256.keys())
    audits = Audits(options.audited, base.classifier, base.metadata, store, answers.features)
    return _judged(base, answers, fitted, contradictions, audits, is_taken_back=is_taken_back)


def _adapted(origin: Origin, options: LearnOptions, store: WeightsStore, figures: dict[str, Any]) -> Lesson:
    """Adapt the head of a model whose images are not at hand."""
    answers = _find_answers(origin.in_use, origin.labelled, set(), options, store)
    earlier = read_learned(origin.parent)
    _note_answers(answers, earlier, tr(STARTER) if origin.is_starter else origin.parent.name, figures)
    with FeatureCache(origin.in_use.extractor.parts, store) as cache:
        filed = read_filed(options.filed, origin.metadata.width, origin.in_use, cache)
    audits = Audits(options.audited, origin.in_use, origin.adapted.metadata, store, answers.features)
    lesson = adapt(origin, answers, filed, audits, is_taken_back=bool(earlier.keys() - answers.by_sha256.keys()))
    classes = lesson.fitted.images.classes
    figures["classes"], figures["new_classes"] = classes, sorted(set(classes) - set(origin.metadata.classes))
    return lesson


def _find_answers(
    in_use: Classifier,
    labelled: LabelledFeatures | None,
    in_data_set: set[str],
    options: LearnOptions,
    store: WeightsStore,
) -> Answers:
    given = read_labels(options.labels, in_use.tree)
    with FeatureCache(in_use.extractor.parts, store) as cache:
        return find_answers(
            given,
            in_use.classes,
            reserved_names(options.checkpoints),
            labelled,
            in_data_set,
            in_use.extractor,
            cache,
        )


def _note_answers(
    answers: Answers,
    earlier: Mapping[str, str | None],
    name: str,
    figures: dict[str, Any],
    sentences: Sequence[str] = (),
) -> None:
    """Report what there is to learn from, with more ``sentences`` about it.

    Raises `NothingNew` where the model ``name`` has learned all that.
    """
    figures["parent"] = name
    figures["labels"] = {label or "": count for label, count in answers.counts.items()}
    figures["left_out"] = list(answers.left_out)
    _report_answers(answers, name, sentences)
    if not answers.by_sha256 and not earlier:
        if answers.left_out:
            raise NothingNew(tr("there is no label to learn from yet: {why}", why="; ".join(answers.left_out)))
        raise NothingNew(tr("there is no label to learn from"))
    if earlier == answers.by_sha256:
        raise NothingNew(tr("{run} has learned from all these labels", run=name))


def _report_answers(answers: Answers, name: str, sentences: Sequence[str]) -> None:
    counts = [
        f"{tr('none of the classes') if label is None else label} {count}"
        for label, count in sorted(answers.counts.items(), key=lambda item: item[0] or "")
    ]
    text = tr("{count} for {run}: {counts}", count=len(answers.by_sha256), run=name, counts=listed(counts, _LISTED))
    say(tr("labels"), text)
    for sentence in [*sentences, *answers.left_out]:
        say("", sentence)


def _fit(base: _Base, answers: Answers, classes: Sequence[str]) -> FittedLesson:
    images = gather(base.kept, answers.by_sha256, answers.features, classes, answers.perceptual_hashes)
    base.kept = base.kept.without_features()
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


def _judged(
    base: _Base,
    answers: Answers,
    fitted: FittedLesson,
    contradictions: Sequence[Contradiction],
    audits: Audits,
    *,
    is_taken_back: bool,
) -> Lesson:
    """Find the threshold of a lesson, and judge it beside the head in use."""
    images = fitted.images
    predictions = fitted.predictions(images.is_trusted)
    thresholds = renew(_thresholds(base.metadata, fitted, predictions, base.names), base.metadata, fitted, audits)
    before = judge_before(base.recorded, base.classifier, fitted.images, answers.features)
    may_win_nothing = is_taken_back or thresholds.renews(base.metadata)
    judgement = judge(fitted, base.kept, before, thresholds.rule(images.classes), may_win_nothing=may_win_nothing)
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
    parent = tr(STARTER) if lesson.origin is not None and lesson.origin.is_starter else lesson.parent.name
    return [
        tr("A lesson for {run}: {why}.", run=parent, why=lesson.judgement.reason),
        *contradiction_sentences(lesson.contradictions),
        *lesson.answers.left_out,
        *lesson.thresholds.sentences(lesson.predictions),
    ]


def _thresholds(
    base: Metadata, fitted: FittedLesson, predictions: LabelledPredictions, names: Mapping[str, str]
) -> Thresholds:
    """Return the thresholds that the images of the data set allow.

    What people corrected promises nothing: they correct mistakes only, so that it is no fair sample.
    """
    images = fitted.images
    rows = np.flatnonzero(images.is_trusted & fitted.judged)
    if not len(rows):
        return Thresholds(0, base.max_error, [], own=base.threshold, levels=lapsed_levels(base, images.classes))
    files = [names.get(images.sha256[row], images.sha256[row]) for row in rows.tolist()]
    found = thresholds_for(predictions, images.pictures[rows], base.max_error, files)
    return replace(found, own=base.threshold) if base.max_error is None else found
