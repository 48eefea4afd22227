"""What a checkpoint makes of a data set whose classes it may know: its predictions, and what the daemon would file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.deciding.rule import Fate, are_unknown
from models.scoring import Strangeness
from trainer.measuring.classify import Classified, ClassMatch, OpenedCheckpoint
from trainer.measuring.filed_as import filed_as
from trainer.measuring.labelled_predictions import LabelledPredictions, Probabilities


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a checkpoint for n readable images, those at ``known`` being of classes that it knows."""

    opened: OpenedCheckpoint
    matched: ClassMatch
    classified: Classified
    known: list[int]

    @property
    def probabilities(self) -> Probabilities:
        """The probabilities (n, classes) of the n images."""
        return self.classified.scores[0].probabilities.astype(np.float64)

    @property
    def strangeness(self) -> Strangeness:
        """How strange (n,) the n images are."""
        return self.classified.scores[0].strangeness

    def predictions(self) -> LabelledPredictions:
        """Return the predictions for images whose class the checkpoint knows."""
        labels = [self.matched.positions[self.classified.files[row].label] for row in self.known]
        return LabelledPredictions(
            self.opened.classifier.classes,
            np.array(labels, np.int64),
            self.probabilities[self.known],
            are_unknown(self.strangeness[self.known]),
        )

    def filed_as(self) -> list[tuple[Fate, str | None]]:
        """Return the fate of every readable image, each decided by itself, and what it is filed as, if it is."""
        classifier = self.opened.classifier
        return filed_as(classifier.metadata.rule, classifier.tree, self.probabilities, are_unknown(self.strangeness))

    def unknown_classes(self) -> dict[str, Any]:
        """Summarise what the checkpoint predicts for images of classes that it does not know."""
        others = sorted(set(range(len(self.classified.files))) - set(self.known))
        predicted = [self.opened.classifier.classes[label] for label in self.probabilities[others].argmax(axis=1)]
        all_filed = self.filed_as()
        fates = Counter(all_filed[row][0] for row in others)
        return {
            "images": len(others),
            "classes": dict(Counter(self.classified.files[row].label for row in others)),
            "taken_for": dict(Counter(predicted).most_common()),
            "refused_as_unknown": fates[Fate.UNKNOWN],
            "filed": fates[Fate.SURE] + fates[Fate.ROLLED_UP],
            "rolled_up": fates[Fate.ROLLED_UP],
        }
