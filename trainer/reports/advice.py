"""Advise on a data set: labels to check, pictures under several labels, classes that need more images.

Wrong labels are found by confident learning (Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", 2021): an image is suspect when its out-of-fold prediction gives another class at least the
probability that the class's own images have on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.text.language import mark, tr
from trainer.data.audit import ImageFinding
from trainer.data.dataset import Sample, shown
from trainer.heads.growth import Growth, accuracies, accuracy_with_doubled_images, class_outlooks
from trainer.learning.contradictions import Contradiction
from trainer.measuring.labelled_predictions import LabelledPredictions

_MAX_LINES = 100
_MAX_CLASSES = 5
#: Another class is clearly likelier than a label when it is so many times as probable.
_CLEAR_RATIO = 2.0
_NOTHING_SHOWN = mark("unknown: nothing shows that the classes are told apart at all")
_CONTRADICTED = mark(
    "Labels of the data set that people contradict, and theirs win: move these images into the folder of their class"
)


@dataclass(frozen=True)
class Suspicion:
    """A judged image (its position) that looks like class ``other``, and the probabilities of both labels."""

    position: int
    other: int
    probability: float
    own: float


def suspicions(predictions: LabelledPredictions) -> list[Suspicion]:
    """Return the judged images whose label is likely wrong, the likeliest first."""
    labels, probabilities = predictions.labels, predictions.probabilities
    mean_confidence = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        mean_confidence[label] = probabilities[labels == label, label].mean()
    confident = np.where(probabilities >= mean_confidence, probabilities, 0.0)
    other = confident.argmax(1) if len(labels) else np.empty(0, np.int64)
    rows = np.flatnonzero((other != labels) & (confident.max(1, initial=0.0) > 0))
    rows = rows[probabilities[rows, other[rows]] >= _CLEAR_RATIO * probabilities[rows, labels[rows]]]
    margin = probabilities[rows, other[rows]] - probabilities[rows, labels[rows]]
    return [
        Suspicion(row, int(other[row]), float(probabilities[row, other[row]]), float(probabilities[row, labels[row]]))
        for row in rows[np.argsort(-margin, kind="stable")].tolist()
    ]


def advice(
    predictions: LabelledPredictions,
    judged: Sequence[Sample],
    findings: Sequence[ImageFinding],
    growth: Growth | None = None,
    missing: Sequence[str] | None = None,
    contradictions: Sequence[Contradiction] = (),
) -> str:
    """Return the text of ``advice.txt``. ``judged`` holds the samples of ``predictions`` and ``growth``, in order.

    ``missing`` holds the sentences on classes whose absence would hardly be noticed; None where that is not known.
    ``contradictions`` are the images of which people said another class than the data set does.
    """
    contradicted = [_section(tr(_CONTRADICTED), "", [contradiction.sentence for contradiction in contradictions])]
    sections = [
        *(contradicted if contradictions else []),
        _section(
            tr("Labels to look at, the likeliest to be wrong first"),
            tr(_NOTHING_SHOWN) if predictions.is_no_better_than_chance else tr("no label looks wrong"),
            list(_wrong_label_lines(predictions, judged)),
        ),
        _section(
            tr("Images under several labels: leave each under one"),
            tr("no image lies under two labels"),
            [f"{shown(finding.name)}: {shown(finding.detail)}" for finding in findings if finding.kind == "two-labels"],
        ),
        _section(
            tr("Classes that are recognised worst"), tr("no class stands out"), list(_weak_class_lines(predictions))
        ),
        _section(
            tr("What twice as many images of every class would bring, judging by what a quarter of these brought"),
            tr("unknown: too few images or mistakes, very many images, or fine-tuned backbones"),
            [] if growth is None else list(_growth_lines(predictions, growth)),
        ),
        _section(
            tr("Images of a kind that has no class, judging by each class left out in turn"),
            tr("unknown: fewer than four classes, too few images, or fine-tuned backbones")
            if missing is None
            else tr("nearly all would be refused, whatever class were missing"),
            missing or [],
        ),
    ]
    return "\n".join(sections)


def _section(title: str, nothing: str, lines: Sequence[str]) -> str:
    more = [tr("and {count} more", count=len(lines) - _MAX_LINES)] if len(lines) > _MAX_LINES else []
    indented = [f"  {line}\n" for line in [*lines[:_MAX_LINES], *more] or [nothing]]
    return f"{title}:\n{''.join(indented)}"


def _wrong_label_lines(predictions: LabelledPredictions, judged: Sequence[Sample]) -> Iterator[str]:
    """Describe the suspect labels; none where predictions are chance, by which half are suspect."""
    for suspicion in [] if predictions.is_no_better_than_chance else suspicions(predictions):
        sample = judged[suspicion.position]
        yield tr(
            "{name}: {other} ({probability:.0%}) rather than {label} ({own:.0%})",
            name=shown(sample.name),
            other=shown(predictions.classes[suspicion.other]),
            probability=suspicion.probability,
            label=shown(sample.label),
            own=suspicion.own,
        )


def _weak_class_lines(predictions: LabelledPredictions) -> Iterator[str]:
    """Describe the classes with the lowest F1 and at least two mistakes, and what they are mistaken for."""
    if not len(predictions.labels):
        return
    counts = np.zeros((len(predictions.classes), len(predictions.classes)), np.int64)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    right, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    score = 2 * right / np.maximum(true + predicted, 1)
    overall = right.sum() / true.sum()
    ranked = np.argsort(score, kind="stable").tolist()
    weak = [label for label in ranked if true[label] and score[label] < overall]
    for label in weak[:_MAX_CLASSES]:
        wrong = true[label] - right[label]
        if wrong >= 2:
            missed = counts[label].copy()
            missed[label] = 0
            other = int(missed.argmax())
            yield tr(
                "{name}: {right} of {count} images are recognised, {missed} are taken for {other}",
                name=shown(predictions.classes[label]),
                right=right[label],
                count=true[label],
                missed=missed[other],
                other=shown(predictions.classes[other]),
            )


def _growth_lines(predictions: LabelledPredictions, growth: Growth) -> Iterator[str]:
    _, with_all = accuracies(growth)
    # The estimate comes from other heads than the served one, so only the share of mistakes that they would lose is
    # taken from them and applied to the accuracy of the served one.
    wrong = 1 - predictions.right.mean()
    avoided = (accuracy_with_doubled_images(growth) - with_all) / (1 - with_all) if with_all < 1 else 0.0
    yield tr(
        "about {more:.1f} more of 100 images would be right ({now:.1%} are now, about {then:.1%} then)",
        more=100 * avoided * wrong,
        now=1 - wrong,
        then=1 - wrong + avoided * wrong,
    )
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    mistakes = np.bincount(predictions.labels[~predictions.right], minlength=len(predictions.classes))
    for outlook in class_outlooks(growth, predictions.labels)[:_MAX_CLASSES]:
        ratio = mistakes[outlook.label] / outlook.mistakes if outlook.mistakes else 0.0
        least, fewer, most = (round(value * ratio) for value in (outlook.low, outlook.avoided, outlook.high))
        if fewer:
            text = (
                mark("{name}: {count} more images would prevent about {fewer} of its {mistakes} mistakes")
                if least == most
                else mark(
                    "{name}: {count} more images would prevent about {fewer} of its {mistakes} mistakes "
                    "(likely {least} to {most})"
                )
            )
            yield tr(
                text,
                name=shown(predictions.classes[outlook.label]),
                count=counts[outlook.label],
                fewer=fewer,
                mistakes=mistakes[outlook.label],
                least=least,
                most=most,
            )
