"""Measure how well a classifier does on images whose class is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.deciding.class_tree import ClassTree, GroupScores
from models.deciding.rule import NOWHERE, DecisionRule
from trainer.measuring import bounds
from trainer.measuring.calibration import Bin, Labels, calibration_error, reliability
from trainer.measuring.filing_counts import LevelCounts, ThresholdCounts

Probabilities = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
#: Images by true class (rows) and predicted class (columns).
Confusion = npt.NDArray[np.int64]

#: How many standard deviations above chance agreement are more than luck: one guess in twenty gets there.
_LUCK_DEVIATIONS = 1.64

#: The shares of images, the surest first, whose accuracy is reported.
COVERAGES = (0.95, 0.9, 0.8)


@dataclass(frozen=True)
class LabelledPredictions:
    """Calibrated probabilities (n, classes) of n images, and their true classes (n,) as positions in ``classes``.

    ``unknown`` (n,) tells which images are unlike all that were learned from, which are never filed; None: not known.
    """

    classes: Sequence[str]
    labels: Labels
    probabilities: Probabilities
    unknown: Mask | None = None

    @property
    def is_unknown(self) -> Mask:
        """Which images (n,) are unknown: all False where nothing tells."""
        return np.full(len(self.labels), False) if self.unknown is None else self.unknown

    @property
    def predicted(self) -> Labels:
        """The most probable class of each image (n,)."""
        result: Labels = self.probabilities.argmax(axis=1)
        return result

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the predicted class of each image (n,) is the true one."""
        result: npt.NDArray[np.bool_] = self.predicted == self.labels
        return result

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability (n,) of the predicted class."""
        result: npt.NDArray[np.float64] = self.probabilities.max(axis=1)
        return result

    @property
    def true_probability(self) -> npt.NDArray[np.float64]:
        """The probability (n,) of the true class."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """The negative log-probability (n,) of the true class, in nats."""
        result: npt.NDArray[np.float64] = -np.log(np.maximum(self.true_probability, 1e-12))
        return result

    @property
    def occurring_classes(self) -> list[int]:
        """The classes that are the true or the predicted class of some image, in order."""
        return sorted({*self.labels.tolist(), *self.predicted.tolist()})

    def figures(self) -> dict[str, float]:
        """Return the figures of all images: shares in 0..1, log-loss in nats; empty where there is no image."""
        if not len(self.labels):
            return {}
        low, high = self.interval()
        return {
            "images": float(len(self.labels)),
            "accuracy": float(self.right.mean()),
            "accuracy_low": low,
            "accuracy_high": high,
            "macro_f1": float(np.mean([scores["f1-score"] for scores in self.class_scores().values()])),
            "log_loss": float(self.losses.mean()),
            "brier": self.brier(),
            "calibration_error": calibration_error(self.probabilities, self.labels),
            "risk_coverage_area": float(self.risk_coverage()[1].mean()),
            **{f"accuracy_of_surest_{round(100 * share)}_percent": self.accuracy_at(share) for share in COVERAGES},
        }

    def interval(self) -> tuple[float, float]:
        """Return the 95 % Clopper-Pearson interval of the accuracy; 0 to 1 where there is no image."""
        return bounds.interval(int(self.right.sum()), len(self.labels))

    def chance_agreement(self) -> tuple[float, float]:
        """Return mean and standard deviation of the number of right images, were predictions shuffled among the images.

        Cohen's kappa (1960) calls this agreement by chance; the deviation is that of Hoeffding (1951) for permutations.
        """
        count = len(self.labels)
        if count < 2:
            return float(count), 0.0
        images = np.bincount(self.labels, minlength=len(self.classes)).astype(np.float64)
        predicted = np.bincount(self.predicted, minlength=len(self.classes)).astype(np.float64)
        pairs = float(images @ predicted)
        triples = float((images * predicted) @ (images + predicted))
        variance = (pairs - triples / count + (pairs / count) ** 2) / (count - 1)
        return pairs / count, math.sqrt(max(variance, 0.0))

    @property
    def is_no_better_than_chance(self) -> bool:
        """Whether the images fail to show that the predictions beat chance; False where all are right."""
        expected, spread = self.chance_agreement()
        right = int(self.right.sum())
        return right < len(self.labels) and right <= expected + _LUCK_DEVIATIONS * spread

    def brier(self) -> float:
        """Return the mean squared distance from probabilities to truth, summed over classes: 0 is best, 2 worst."""
        squares = (self.probabilities**2).sum(axis=1) - 2 * self.true_probability + 1
        return float(squares.mean())

    def risk_coverage(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return coverage (n,), 1/n to 1, and risk (n,): the share of mistakes among the first images of that coverage.

        Images are ordered by confidence, highest first, and unknown ones last, since they are not filed. Among equal
        confidences the mistakes come first, so that no threshold does worse than the curve says.
        """
        order = np.lexsort((self.right, -self.confidence, self.is_unknown))
        counts = np.arange(1, len(order) + 1)
        return counts / len(order), np.cumsum(~self.right[order]) / counts

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy on the surest images, a share ``coverage`` (0..1, not 0) of all."""
        count = int(np.ceil(coverage * len(self.labels) - 1e-9))
        return 1 - float(self.risk_coverage()[1][count - 1])

    def reliability(self, bins: int = 10) -> list[Bin]:
        """Return confidence, accuracy and number of images in bins of equal count."""
        return reliability(self.probabilities, self.labels, bins)

    def class_scores(self) -> dict[str, dict[str, float]]:
        """Return precision, recall, F1 and support (its images) of each of `occurring_classes`, by its name."""
        counts = self.confusion()
        right, images, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        return {
            self.classes[index]: {
                "precision": float(right[row] / predicted[row]) if predicted[row] else 0.0,
                "recall": float(right[row] / images[row]) if images[row] else 0.0,
                "f1-score": float(2 * right[row] / (images[row] + predicted[row])),
                "support": float(images[row]),
            }
            for row, index in enumerate(self.occurring_classes)
        }

    @cached_property
    def tree(self) -> ClassTree:
        """The classes as folders in folders."""
        return ClassTree(self.classes)

    @cached_property
    def groups(self) -> list[GroupScores]:
        """The most probable inner folder of each depth, the deepest first; none where classes are flat."""
        return self.tree.score(self.probabilities)

    def right_in(self, group: GroupScores) -> Mask:
        """Whether the class of each image (n,) lies in its most probable inner folder of a depth."""
        right: Mask = self.tree.group_at(group.depth)[self.labels] == group.best
        return right

    def places(self, rule: DecisionRule) -> Labels:
        """Return where each image (n,) would be filed by the rule."""
        return rule.places(
            self.confidence, self.is_unknown, [(group.depth, group.probability) for group in self.groups]
        )

    def counts_at(self, threshold: float) -> ThresholdCounts:
        """Count what the daemon would do with the images at ``threshold``, without inner folders.

        Unknown ones are never filed.
        """
        return self.counts_by(DecisionRule(threshold))

    def counts_by(self, rule: DecisionRule) -> ThresholdCounts:
        """Count what the daemon would do with the images by a rule; each is right if its folder is that of its class.

        An inner folder is right for all classes below it.
        """
        places = self.places(rule)
        at_class = LevelCounts(0, rule.threshold, *_filed(places == 0, self.right))
        inner = [
            LevelCounts(group.depth, rule.levels[group.depth], *_filed(places == group.depth, self.right_in(group)))
            for group in self.groups
            if group.depth in rule.levels
        ]
        return ThresholdCounts(
            rule.threshold,
            images=len(self.labels),
            filed=int((places != NOWHERE).sum()),
            wrong=sum(level.wrong for level in (at_class, *inner)),
            unknown=int(self.is_unknown.sum()),
            levels=(at_class, *inner) if inner else (),
        )

    def mistakes_within(self, depth: int) -> Mask:
        """Tell which images (n,) are mistaken for a class that lies in the same folder of this depth as their own."""
        group = self.tree.group_at(depth)
        within: Mask = ~self.right & (group[self.labels] >= 0) & (group[self.labels] == group[self.predicted])
        return within

    def seen_from(self, depth: int) -> LabelledPredictions:
        """Return the predictions with all classes below a folder of this depth as one, which has the folder's name."""
        above = ["/".join(name.split("/")[:depth]) for name in self.classes]
        folders = sorted(set(above))
        places = {folder: number for number, folder in enumerate(folders)}
        position = np.array([places[folder] for folder in above], np.int64)
        sums = np.zeros((len(folders), len(self.labels)))
        np.add.at(sums, position, self.probabilities.T)
        return LabelledPredictions(folders, position[self.labels], sums.T, self.unknown)

    def among(self, rows: npt.NDArray[np.int64] | Mask) -> LabelledPredictions:
        """Return the predictions for some of the images (positions or a mask)."""
        unknown = None if self.unknown is None else self.unknown[rows]
        return LabelledPredictions(self.classes, self.labels[rows], self.probabilities[rows], unknown)

    def confusion(self) -> Confusion:
        """Count images by true class (rows) and predicted class (columns), for `occurring_classes`."""
        position = {index: row for row, index in enumerate(self.occurring_classes)}
        counts = np.zeros((len(position), len(position)), np.int64)
        for true, predicted in zip(self.labels.tolist(), self.predicted.tolist(), strict=True):
            counts[position[true], position[predicted]] += 1
        return counts


def _filed(filed: Mask, right: Mask) -> tuple[int, int]:
    """Count the images that are filed, and those of them that are not right."""
    return int(filed.sum()), int((filed & ~right).sum())
