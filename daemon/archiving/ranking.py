"""A classifier that also names the next likeliest classes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.classifier import Classifier, Prediction
from models.inference.engines import Crops

#: Classes after the likeliest.
_FOLLOWING = 2


@dataclass(frozen=True)
class RankedPrediction(Prediction):
    """A prediction with the classes that come after the likeliest, and their probabilities."""

    following: tuple[tuple[str, float], ...] = ()


class RankingClassifier(Classifier):
    """A classifier whose predictions are `RankedPrediction`, otherwise equal to those of ``classifier``."""

    def __init__(self, classifier: Classifier) -> None:
        self.__dict__.update(vars(classifier))

    def predict(self, crops: Sequence[Crops]) -> list[Prediction]:
        probabilities, strangeness = self.score(crops)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : 1 + _FOLLOWING].tolist()
        groups = self.tree.score(probabilities)
        return [
            RankedPrediction(
                self.classes[best],
                float(probabilities[row, best]),
                float(strangeness[row]),
                tuple(group.of(row) for group in groups),
                tuple((self.classes[index], float(probabilities[row, index])) for index in following),
            )
            for row, (best, *following) in enumerate(order)
        ]
