"""How right a classifier is on images whose class is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.decision import Fate, Rule
from trainer.measuring import bounds
from trainer.measuring.calibration import Bin, Labels, calibration_error, reliability

Probabilities = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
#: Images by true class (rows) and predicted class (columns).
Counts = npt.NDArray[np.int64]

#: How many standard deviations above what guessing has right is more than luck: one guess in twenty gets there.
_LUCK = 1.64

#: The shares of images, the surest first, whose accuracy is reported.
COVERAGES = (0.95, 0.9, 0.8)


@dataclass(frozen=True)
class FilingCounts:
    """What becomes of so many ``images`` in the daemon: of those ``filed`` into a class some are ``wrong`` there.

    ``unknown`` are refused because they are unlike all known ones; all others are less probable than ``threshold``.
    """

    threshold: float
    images: int
    filed: int
    wrong: int
    unknown: int

    @property
    def unsure(self) -> int:
        """The images under the threshold, and not `unknown`."""
        return self.images - self.filed - self.unknown

    def figures(self) -> dict[str, float | None]:
        """As numbers and as shares in 0..1; no share where there is nothing that it is of."""
        return {
            "threshold": self.threshold,
            "filed": self.filed,
            "filed_share": _share(self.filed, self.images),
            "wrong": self.wrong,
            "wrong_share_of_filed": _share(self.wrong, self.filed),
            "refused_as_unknown": self.unknown,
            "refused_as_unknown_share": _share(self.unknown, self.images),
            "under_threshold": self.unsure,
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class Measured:
    """Calibrated probabilities (n, classes) of n images, and their true classes (n,) as positions in ``classes``.

    ``unknown`` (n,) are the images that are unlike all that was learned, which are never filed; None: nothing tells.
    """

    classes: Sequence[str]
    labels: Labels
    probabilities: Probabilities
    unknown: Mask | None = None

    @property
    def strange(self) -> Mask:
        """Which of the images (n,) are unlike all that was learned."""
        return np.full(len(self.labels), False) if self.unknown is None else self.unknown

    @property
    def predicted(self) -> Labels:
        """The most probable class (n,) of each image."""
        result: Labels = self.probabilities.argmax(axis=1)
        return result

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the predicted class (n,) is the true one."""
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
    def concerned(self) -> list[int]:
        """The classes that some image is of, or is taken for."""
        return sorted({*self.labels.tolist(), *self.predicted.tolist()})

    def figures(self) -> dict[str, float]:
        """The figures of a whole set of images: shares in 0..1, log-loss in nats; empty where there is no image."""
        if not len(self.labels):
            return {}
        low, high = self.interval()
        return {
            "images": float(len(self.labels)),
            "accuracy": float(self.right.mean()),
            "accuracy_low": low,
            "accuracy_high": high,
            "macro_f1": float(np.mean([each["f1-score"] for each in self.report().values()])),
            "log_loss": float(self.losses.mean()),
            "brier": self.brier(),
            "calibration_error": calibration_error(self.probabilities, self.labels),
            "risk_coverage_area": float(self.risk_coverage()[1].mean()),
            **{f"accuracy_of_surest_{round(100 * share)}_percent": self.accuracy_at(share) for share in COVERAGES},
        }

    def interval(self) -> tuple[float, float]:
        """The 95 % Clopper-Pearson interval of the accuracy; 0 to 1 where there is no image."""
        return bounds.interval(int(self.right.sum()), len(self.labels))

    def guessing(self) -> tuple[float, float]:
        """How many images are right on average, and the standard deviation, if the predictions are dealt out at random.

        What Cohen's kappa (1960) calls agreement by chance; the spread is that of Hoeffding (1951) for permutations.
        """
        count = len(self.labels)
        if count < 2:
            return float(count), 0.0
        images = np.bincount(self.labels, minlength=len(self.classes)).astype(np.float64)
        taken = np.bincount(self.predicted, minlength=len(self.classes)).astype(np.float64)
        pairs = float(images @ taken)
        variance = (pairs - float((images * taken) @ (images + taken)) / count + (pairs / count) ** 2) / (count - 1)
        return pairs / count, math.sqrt(max(variance, 0.0))

    @property
    def is_guessing(self) -> bool:
        """Whether the images do not show that the predictions are better than guesses; not where all are right."""
        expected, spread = self.guessing()
        right = int(self.right.sum())
        return right < len(self.labels) and right <= expected + _LUCK * spread

    def brier(self) -> float:
        """The mean squared distance of the probabilities from the truth, summed over classes: 0 is best, 2 worst."""
        squares = (self.probabilities**2).sum(axis=1) - 2 * self.true_probability + 1
        return float(squares.mean())

    def risk_coverage(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Coverage (n,), 1/n to 1, and risk (n,): the share of mistakes among the first images of that coverage.

        They come in the order in which they would be filed: the surest first, and the `strange` ones, which are not, at
        the end. Among equally sure ones the mistakes come first, so that no threshold does worse than the curve says.
        """
        order = np.lexsort((self.right, -self.confidence, self.strange))
        counts = np.arange(1, len(order) + 1)
        return counts / len(order), np.cumsum(~self.right[order]) / counts

    def accuracy_at(self, coverage: float) -> float:
        """The accuracy on the surest images, ``coverage`` (0..1, not 0) of all."""
        count = int(np.ceil(coverage * len(self.labels) - 1e-9))
        return 1 - float(self.risk_coverage()[1][count - 1])

    def reliability(self, bins: int = 10) -> list[Bin]:
        """Confidence, accuracy and count in bins of equal count; see `trainer.measuring.calibration.reliability`."""
        return reliability(self.probabilities, self.labels, bins)

    def report(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support (its images) of every class that is `concerned`, by its name."""
        counts = self.confusion()
        right, images, taken = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        return {
            self.classes[index]: {
                "precision": float(right[at] / taken[at]) if taken[at] else 0.0,
                "recall": float(right[at] / images[at]) if images[at] else 0.0,
                "f1-score": float(2 * right[at] / (images[at] + taken[at])),
                "support": float(images[at]),
            }
            for at, index in enumerate(self.concerned)
        }

    def filing(self, threshold: float) -> FilingCounts:
        """What becomes of the images if those under ``threshold`` and the `strange` ones are not filed."""
        fates = Rule(threshold).fates(self.confidence, self.strange)
        into_class = np.array([fate is Fate.SURE for fate in fates], dtype=bool)
        return FilingCounts(
            threshold,
            images=len(self.labels),
            filed=int(into_class.sum()),
            wrong=int((into_class & ~self.right).sum()),
            unknown=int(self.strange.sum()),
        )

    def confusion(self) -> Counts:
        """Images by true class (rows) and predicted class (columns), of the concerned classes."""
        position = {index: at for at, index in enumerate(self.concerned)}
        counts = np.zeros((len(position), len(position)), np.int64)
        for true, predicted in zip(self.labels.tolist(), self.predicted.tolist(), strict=True):
            counts[position[true], position[predicted]] += 1
        return counts
