"""Write the run folder of a lesson: the checkpoint, what it keeps for the next lesson, and a short report."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier, make_checkpoint
from models.deciding.rule import DecisionRule
from models.text.jsontext import json_text
from trainer.data.folds import NEVER
from trainer.learning.answers import Answers
from trainer.learning.contradictions import Contradiction
from trainer.learning.files import FileRecord, features_figures, link_features, write_labelled
from trainer.learning.gate import Judgement
from trainer.learning.kept import LabelledFeatures
from trainer.learning.labels import LEARNED_NAME
from trainer.learning.lesson import Judged, is_filed_by
from trainer.learning.origin import Origin
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.split_file import COLUMNS, HELD_OUT, TRAIN
from trainer.measuring.split_file import FILE_NAME as SPLIT_NAME
from trainer.measuring.thresholds import Thresholds
from trainer.runs.folder import METRICS, Setting, create_run, write_json, write_settings
from trainer.runs.versions import versions


@dataclass(frozen=True)
class Lesson:
    """A lesson that is done, and its ``parent``: the run that it began from.

    ``base`` is the checkpoint that it began from, or that of the ``origin`` which is adapted, where there are no
    ``features`` of a data set to keep. ``predictions`` and ``thresholds`` are of the images of the data set alone.
    ``names`` has the files of images by their sha256. ``contradictions`` are the labels of the data set that
    people contradict.
    """

    parent: Path
    base: Classifier
    fitted: Judged
    answers: Answers
    features: FileRecord | None
    predictions: LabelledPredictions
    thresholds: Thresholds
    judgement: Judgement
    names: Mapping[str, str]
    contradictions: Sequence[Contradiction] = ()
    origin: Origin | None = None

    @property
    def rule(self) -> DecisionRule:
        """The rule by which the daemon files with its model."""
        return self.thresholds.rule(self.fitted.images.classes)


def write_lesson(lesson: Lesson, tuned: Mapping[str, Mapping[str, checkpoints.Array]], report: Sequence[str]) -> Path:
    """Write the run folder beside that of its parent and return its path; ``tuned`` is as in a checkpoint.

    Raises `UserError` when it cannot be written.
    """
    now = datetime.now(UTC)
    metadata = _metadata(lesson, now)
    checkpoint: Checkpoint = make_checkpoint(metadata, lesson.fitted.head, lesson.base.extractor, tuned)

    def fill(run: Path) -> None:
        sha256 = checkpoints.write(checkpoint, run / checkpoints.FILE_NAME)
        if lesson.origin is not None:
            lesson.origin.keep(run)
        if lesson.features is not None:
            link_features(lesson.parent, run, lesson.features)
        answers = lesson.answers
        kept = LabelledFeatures.of(answers.features, answers.perceptual_hashes, metadata.width)
        labelled = write_labelled(run, kept, metadata.parts)
        write_json(run / METRICS, {"sha256": sha256} | _metrics(lesson) | features_figures(lesson.features, labelled))
        write_settings(run / "settings.toml", metadata.settings)
        _write_split(run / SPLIT_NAME, lesson)
        _write_labels(run / LEARNED_NAME, lesson.answers)
        (run / "report.txt").write_text("".join(f"{line}\n" for line in report), encoding="utf-8")

    return create_run(lesson.parent.parent, f"{metadata.mode}-lesson", now.astimezone(), fill, "--checkpoints")


def _metadata(lesson: Lesson, now: datetime) -> Metadata:
    base, fitted, thresholds = lesson.base.metadata, lesson.fitted, lesson.thresholds
    in_use = lesson.base if lesson.origin is None else lesson.origin.in_use
    settings: dict[str, Setting] = {
        **{name: value for name, value in base.settings.items() if name != "starter"},
        "lesson": True,
        "parent": lesson.parent.name,
        "parent_sha256": in_use.digest,
        "labels": len(lesson.answers.by_sha256),
    }
    promise: dict[str, Setting] = {
        "promise_lapsed": thresholds.lapsed,
        "promise_doubted": thresholds.is_doubted,
        "promise_audited": thresholds.audited,
    }
    settings = {name: value for name, value in settings.items() if name not in promise}
    settings |= {name: value for name, value in promise.items() if value}
    if lesson.origin is not None:
        settings["origin_sha256"] = lesson.base.digest
    return fitted.metadata(base).model_copy(
        update={
            "threshold": thresholds.own,
            "max_error": thresholds.requested,
            "promises": thresholds.promises,
            "levels": list(thresholds.levels),
            "metrics": {**lesson.predictions.figures(), "all_images": float(len(fitted.images.labels))},
            "settings": settings,
            "data_digest": fitted.images.digest,
            "versions": versions(),
            "created": now.isoformat(timespec="seconds"),
        }
    )


def _metrics(lesson: Lesson) -> dict[str, Any]:
    predictions = lesson.predictions
    return {
        "lesson": {
            "parent": lesson.parent.name,
            "why": lesson.judgement.reason,
            "judged": lesson.judgement.figures,
            "labels": {name or "": count for name, count in lesson.answers.counts.items()},
            "left_out": list(lesson.answers.left_out),
            "contradictions": [contradiction.figures() for contradiction in lesson.contradictions],
        },
        "held_out": predictions.figures(),
        "classes": predictions.class_scores() if len(predictions.labels) else {},
        "head": {"taken": lesson.fitted.candidate.name, "temperature": lesson.fitted.temperature},
        "thresholds": lesson.thresholds.figures(),
    }


def _write_split(path: Path, lesson: Lesson) -> None:
    """Write the fold of every image and its out-of-fold prediction, like `trainer.measuring.split_file.write_split`.

    An image of none of the classes has no label, and no prediction where it would not be filed.
    """
    fitted, images = lesson.fitted, lesson.fitted.images
    classes = [*images.classes, ""]
    confidence, best = fitted.probabilities.max(axis=1), fitted.probabilities.argmax(axis=1)
    is_filed = is_filed_by(lesson.rule, fitted).tolist()
    positions = iter(range(len(confidence)))
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for sha256, label, fold in zip(images.sha256, images.labels.tolist(), images.folds.tolist(), strict=True):
            row: list[Any] = [lesson.names.get(sha256, ""), classes[label], sha256]
            if fold == NEVER:
                rows.writerow([*row, TRAIN, "", "", "", "", ""])
                continue
            at = next(positions)
            if label == len(images.classes):
                predicted, true = classes[best[at]] if is_filed[at] else "", 1 - confidence[at]
            else:
                predicted, true = classes[best[at]], fitted.probabilities[at, label]
            rows.writerow([*row, HELD_OUT, fold, predicted, f"{confidence[at]:.6f}", f"{true:.6f}", ""])


def _write_labels(path: Path, answers: Answers) -> None:
    lines = (
        json_text({"sha256": sha256, "label": label, "how": answers.how[sha256]})
        for sha256, label in sorted(answers.by_sha256.items())
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
