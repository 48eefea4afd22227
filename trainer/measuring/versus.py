"""Which of two checkpoints is right more often on the same images, and whether that may be chance."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from models.text.language import mark, tr
from trainer.measuring import bounds
from trainer.measuring.classify import Classified, Matched
from trainer.measuring.measure import Measured

#: With a smaller probability that chance alone makes them differ so much, one is called better.
SIGNIFICANT = 0.05

#: In a report folder: the images that only one of the two is right about.
FILE_NAME = "only_one_right.csv"

Right = npt.NDArray[np.bool_]


def mcnemar(first: Right, second: Right) -> float:
    """The probability that two which are equally good differ so much or more on these images (n,).

    McNemar's exact test (Psychometrika 1947): only images that one is right about and the other is not tell anything,
    and of these each has half by chance.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


@dataclass(frozen=True)
class Versus:
    """What two checkpoints made of the same n images, all of classes that both know."""

    names: tuple[str, str]
    files: list[str]
    labels: list[str]
    first: Measured
    second: Measured

    @property
    def p(self) -> float:
        """See `mcnemar`."""
        return mcnemar(self.first.right, self.second.right)

    def sentence(self) -> str:
        """Who is better, if anybody, in one sentence."""
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
        if self.p >= SIGNIFICANT:
            text = mark("{counts}: the difference may be chance (p = {p:.2g} by McNemar's exact test)")
        else:
            text = mark("{counts}: {better} is better (p = {p:.2g} by McNemar's exact test)")
        return tr(text, counts=counts, better=self.names[int(second > first)], p=self.p)

    def summary(self) -> dict[str, Any]:
        """All of it as numbers; accuracies are shares in 0..1 with their 95 % intervals."""
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
            "p": self.p,
            "better": self.names[int(second.sum() > first.sum())] if self.p < SIGNIFICANT else None,
            "sentence": self.sentence(),
        }

    def write(self, path: Path) -> None:
        """List the images that only one of the two is right about, as CSV."""
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "label", "right", "first", "first_confidence", "second", "second_confidence"])
            for at in np.flatnonzero(self.first.right != self.second.right).tolist():
                predictions = [
                    text
                    for measured in (self.first, self.second)
                    for text in (measured.classes[measured.predicted[at]], f"{measured.confidence[at]:.6f}")
                ]
                right = "first" if self.first.right[at] else "second"
                rows.writerow([self.files[at], self.labels[at], right, *predictions])


def versus(found: Classified, matched: Sequence[Matched], classes: Sequence[Sequence[str]], names: list[str]) -> Versus:
    """Compare two on the images whose class both know; there may be none. Everything is given for both, in order."""
    common = [
        at for at, file in enumerate(found.files) if all(file.label in classes_.positions for classes_ in matched)
    ]
    first, second = (
        Measured(
            names_of_classes,
            np.array([own.positions[found.files[at].label] for at in common], np.int64),
            judgement.probabilities[common].astype(np.float64),
        )
        for names_of_classes, own, judgement in zip(classes, matched, found.judgements, strict=True)
    )
    files = [found.files[at] for at in common]
    return Versus((names[0], names[1]), [file.name for file in files], [file.label for file in files], first, second)
