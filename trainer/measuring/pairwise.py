"""Compare two checkpoints on the same images: which is right more often, and whether that may be chance."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.text.language import mark, tr
from trainer.measuring import bounds
from trainer.measuring.classify import Classified, ClassMatch
from trainer.measuring.labelled_predictions import LabelledPredictions

#: With a smaller p-value, one of the two is called better.
SIGNIFICANCE = 0.05

#: The list, in a report folder, of the images that only one of the two is right about.
FILE_NAME = "only_one_right.csv"

Right = npt.NDArray[np.bool_]


def mcnemar(first: Right, second: Right) -> float:
    """Return the probability that two equally good classifiers differ at least this much on these images (n,).

    McNemar's exact test (Psychometrika 1947): only images that exactly one of the two is right about count, and by
    chance each is right about half of these. That binomial distribution is symmetric, so that twice one tail is exact.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_first + only_second:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


@dataclass(frozen=True)
class Comparison:
    """The predictions of two checkpoints for the same n images, all of classes that both know."""

    names: tuple[str, str]
    files: list[str]
    labels: list[str]
    first: LabelledPredictions
    second: LabelledPredictions

    @property
    def p_value(self) -> float:
        """See `mcnemar`."""
        return mcnemar(self.first.right, self.second.right)

    def sentence(self) -> str:
        """Say in one sentence which is better, if either is."""
        one, other = self.names
        if not self.files:
            return tr(
                "no image is of a class that both {first} and {second} know, so nothing compares them",
                first=one,
                second=other,
            )
        first, second = int(self.first.right.sum()), int(self.second.right.sum())
        counts = tr(
            "of {count} images, {first} has {right} right ({share:.3f}) and {second} {second_right} "
            "({second_share:.3f})",
            count=len(self.files),
            first=one,
            right=first,
            share=first / len(self.files),
            second=other,
            second_right=second,
            second_share=second / len(self.files),
        )
        if first == second:
            return tr("{counts}: neither is better", counts=counts)
        if self.p_value >= SIGNIFICANCE:
            text = mark("{counts}: the difference may be chance (p = {p:.2g} by McNemar's exact test)")
        else:
            text = mark("{counts}: {better} is better (p = {p:.2g} by McNemar's exact test)")
        return tr(text, counts=counts, better=self.names[int(second > first)], p=self.p_value)

    def summary(self) -> dict[str, Any]:
        """Return the comparison as numbers; accuracies are shares in 0..1 with their 95 % intervals."""
        first, second = self.first.right, self.second.right
        count = len(self.files)
        return {
            "images": count,
            "runs": [
                {
                    "name": name,
                    "right": int(right.sum()),
                    "accuracy": float(right.mean()) if count else None,
                    "interval": list(bounds.interval(int(right.sum()), count)),
                    "right_alone": int((right & ~other).sum()),
                }
                for name, right, other in zip(self.names, (first, second), (second, first), strict=True)
            ],
            "p": self.p_value,
            "better": self.names[int(second.sum() > first.sum())] if self.p_value < SIGNIFICANCE else None,
            "sentence": self.sentence(),
        }

    def write(self, path: Path) -> None:
        """List the images that only one of the two is right about, as CSV."""
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "label", "right", "first", "first_confidence", "second", "second_confidence"])
            for row in np.flatnonzero(self.first.right != self.second.right).tolist():
                cells = [
                    text
                    for predictions in (self.first, self.second)
                    for text in (predictions.classes[predictions.predicted[row]], f"{predictions.confidence[row]:.6f}")
                ]
                right = "first" if self.first.right[row] else "second"
                rows.writerow([self.files[row], self.labels[row], right, *cells])


def compare_pair(
    classified: Classified, matches: Sequence[ClassMatch], classes: Sequence[Sequence[str]], names: list[str]
) -> Comparison:
    """Compare two checkpoints on the images whose class both know, if any. All sequences have two items."""
    common = [
        row for row, file in enumerate(classified.files) if all(file.label in match.positions for match in matches)
    ]
    files = [classified.files[row] for row in common]
    first, second = (
        LabelledPredictions(
            class_names,
            np.array([match.positions[file.label] for file in files], np.int64),
            scores.probabilities[common].astype(np.float64),
        )
        for class_names, match, scores in zip(classes, matches, classified.scores, strict=True)
    )
    return Comparison(
        (names[0], names[1]), [file.name for file in files], [file.label for file in files], first, second
    )
