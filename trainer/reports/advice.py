"""What to do about a data set: labels to look at, pictures to decide on, classes to give more images of.

Wrong labels are found by confident learning (Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", 2021): an image is suspected when heads that never saw it give another class at least the probability
which that class's own images have on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.text.language import mark, tr
from trainer.data.audit import Oddity
from trainer.data.dataset import Sample, shown
from trainer.heads.growth import Growth, accuracies, accuracy_with_doubled_images, class_outlooks
from trainer.measuring.measure import LabelledPredictions

_LISTED = 100
_WEAK = 5
#: Another class is clearly likelier than a label when it is so many times as probable.
_CLEARLY = 2.0
_GUESSED = mark("it cannot be told: nothing shows that the classes are told apart at all")


@dataclass(frozen=True)
class Suspicion:
    """An image (its position among the judged ones) that looks like ``other``, and the probabilities of both labels."""

    at: int
    other: int
    probability: float
    own: float


def suspicions(predictions: LabelledPredictions) -> list[Suspicion]:
    """The judged images whose label is likely wrong, the likeliest first."""
    labels, probabilities = predictions.labels, predictions.probabilities
    usual = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        usual[label] = probabilities[labels == label, label].mean()
    confident = np.where(probabilities >= usual, probabilities, 0.0)
    other = confident.argmax(1) if len(labels) else np.empty(0, np.int64)
    rows = np.flatnonzero((other != labels) & (confident.max(1, initial=0.0) > 0))
    rows = rows[probabilities[rows, other[rows]] >= _CLEARLY * probabilities[rows, labels[rows]]]
    margin = probabilities[rows, other[rows]] - probabilities[rows, labels[rows]]
    return [
        Suspicion(at, int(other[at]), float(probabilities[at, other[at]]), float(probabilities[at, labels[at]]))
        for at in rows[np.argsort(-margin, kind="stable")].tolist()
    ]


def advice(
    predictions: LabelledPredictions, judged: Sequence[Sample], findings: Sequence[Oddity], growth: Growth | None = None
) -> str:
    """The text of ``advice.txt``. ``judged`` holds the samples of ``predictions`` and ``growth``, in order."""
    sections = [
        _section(
            tr("Labels to look at, the likeliest to be wrong first"),
            tr(_GUESSED) if predictions.is_no_better_than_chance else tr("no label looks wrong"),
            list(_wrong(predictions, judged)),
        ),
        _section(
            tr("Pictures under several labels: leave each under one"),
            tr("no picture lies under two labels"),
            [f"{shown(each.name)}: {shown(each.detail)}" for each in findings if each.kind == "two-labels"],
        ),
        _section(tr("Classes that are recognised worst"), tr("no class stands out"), list(_weak(predictions))),
        _section(
            tr("What twice as many images of every class would bring, judging by what a quarter of these brought"),
            tr("it cannot be told: too few images or mistakes, very many images, or fine-tuned backbones"),
            [] if growth is None else list(_growing(predictions, growth)),
        ),
    ]
    return "\n".join(sections)


def _section(title: str, nothing: str, lines: Sequence[str]) -> str:
    more = [tr("and {count} more", count=len(lines) - _LISTED)] if len(lines) > _LISTED else []
    indented = [f"  {line}\n" for line in [*lines[:_LISTED], *more] or [nothing]]
    return f"{title}:\n{''.join(indented)}"


def _wrong(predictions: LabelledPredictions, judged: Sequence[Sample]) -> Iterator[str]:
    """The suspicious labels, of which guesses would name half of all."""
    for each in [] if predictions.is_no_better_than_chance else suspicions(predictions):
        sample = judged[each.at]
        yield tr(
            "{name}: {other} ({probability:.0%}) rather than {label} ({own:.0%})",
            name=shown(sample.name),
            other=shown(predictions.classes[each.other]),
            probability=each.probability,
            label=shown(sample.label),
            own=each.own,
        )


def _weak(predictions: LabelledPredictions) -> Iterator[str]:
    """The classes with the lowest F1 that have at least two images wrong, and what they are taken for."""
    if not len(predictions.labels):
        return
    counts = np.zeros((len(predictions.classes), len(predictions.classes)), np.int64)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    right, true, given = counts.diagonal(), counts.sum(1), counts.sum(0)
    score = 2 * right / np.maximum(true + given, 1)
    overall = right.sum() / true.sum()
    weak = [at for at in np.argsort(score, kind="stable").tolist() if true[at] and score[at] < overall]
    for at in weak[:_WEAK]:
        wrong = true[at] - right[at]
        if wrong >= 2:
            missed = counts[at].copy()
            missed[at] = 0
            taken = int(missed.argmax())
            yield tr(
                "{name}: {right} of {count} images are recognised, {missed} are taken for {other}",
                name=shown(predictions.classes[at]),
                right=right[at],
                count=true[at],
                missed=missed[taken],
                other=shown(predictions.classes[taken]),
            )


def _growing(predictions: LabelledPredictions, growth: Growth) -> Iterator[str]:
    _, every = accuracies(growth)
    # Other heads were tried for this than the one that is served: what they say of mistakes that go, of a hundred, is
    # told of those of the served one, so that there is one accuracy.
    wrong = 1 - predictions.right.mean()
    gone = (accuracy_with_doubled_images(growth) - every) / (1 - every) if every < 1 else 0.0
    yield tr(
        "about {more:.1f} more of 100 pictures would be right ({now:.1%} are now, about {then:.1%} then)",
        more=100 * gone * wrong,
        now=1 - wrong,
        then=1 - wrong + gone * wrong,
    )
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    mistakes = np.bincount(predictions.labels[~predictions.right], minlength=len(predictions.classes))
    for each in class_outlooks(growth, predictions.labels)[:_WEAK]:
        own = mistakes[each.label] / each.mistakes if each.mistakes else 0.0
        least, fewer, most = (round(value * own) for value in (each.low, each.avoided, each.high))
        if fewer:
            text = (
                mark("{name}: {count} images more would spare about {fewer} of its {mistakes} mistakes")
                if least == most
                else mark(
                    "{name}: {count} images more would spare about {fewer} of its {mistakes} mistakes "
                    "(likely {least} to {most})"
                )
            )
            yield tr(
                text,
                name=shown(predictions.classes[each.label]),
                count=counts[each.label],
                fewer=fewer,
                mistakes=mistakes[each.label],
                least=least,
                most=most,
            )
