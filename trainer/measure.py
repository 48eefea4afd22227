"""How right a classifier is on images whose class is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.calibrate import Labels, calibration_error
from trainer.plots import Counts

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Calibrated probabilities (n, classes) of n images, and their true classes (n,) as positions in ``classes``."""

    classes: Sequence[str]
    labels: Labels
    probabilities: Probabilities

    @property
    def predicted(self) -> Labels:
        """The most probable class (n,) of each image."""
        result: Labels = self.probabilities.argmax(axis=1)
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
        summary = self.report()["macro avg"]
        return {
            "images": float(len(self.labels)),
            "accuracy": float((self.predicted == self.labels).mean()),
            "macro_f1": float(summary["f1-score"]),
            "log_loss": float(self.losses.mean()),
            "calibration_error": calibration_error(self.probabilities, self.labels),
        }

    def report(self) -> dict[str, Any]:
        """Precision, recall, F1 and support by class name, and their means (scikit-learn's classification report)."""
        return dict(self._report(output_dict=True))

    def report_text(self) -> str:
        """The same as a table."""
        return str(self._report(output_dict=False, digits=3))

    def _report(self, **how: Any) -> Any:
        from sklearn.metrics import classification_report

        names = [self.classes[index] for index in self.concerned]
        return classification_report(
            self.labels, self.predicted, labels=self.concerned, target_names=names, zero_division=0, **how
        )

    def confusion(self) -> Counts:
        """Images by true class (rows) and predicted class (columns), of the concerned classes."""
        position = {index: at for at, index in enumerate(self.concerned)}
        counts = np.zeros((len(position), len(position)), np.int64)
        for true, predicted in zip(self.labels.tolist(), self.predicted.tolist(), strict=True):
            counts[position[true], position[predicted]] += 1
        return counts
