"""What heads are fitted on: features, labels, and the folds that are held out in turn.

Every method fits the heads of all folds at once, and that of all images with them: the heads see the same batches or
the same matrix, in which an image that is held out of a head has the weight 0. That takes hardly longer than one fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads.linear import Linear
from trainer.measuring.calibration import Labels, Logits

#: How much an image (rows) counts in the fit of a head (columns).
Weights = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: How often an image of a rare class may count for one of the largest class: with less, a few would decide too much.
_MOST_WEIGHT = 20


@dataclass(frozen=True)
class FittingTask:
    """Scaled features (n, width) of labelled images (n,), each in a fold (n,) or in none (`NEVER`: not judged).

    Heads are made in groups: one for each fold, fitted on the others, and one fitted on all images, which is the last.
    ``start`` is a head whose logits theirs are added to, where there is one.
    """

    scaled: Features
    labels: Labels
    classes: int
    folds: Folds
    start: Linear | None = None

    @cached_property
    def judges(self) -> list[int]:
        """The folds that have images, in order."""
        return sorted({*self.folds.tolist()} - {NEVER})

    @property
    def groups(self) -> int:
        """How many heads there are."""
        return len(self.judges) + 1

    @property
    def judged(self) -> Mask:
        """Which images (n,) are held out of some head."""
        judged: Mask = self.folds != NEVER
        return judged

    @cached_property
    def weights(self) -> Weights:
        """Weights (n, groups) of the images, with a mean of about 1 and 0 for what is held out.

        Every class counts alike, however many images it has. Measured on scenes with 400, 50, 50, 50, 50 and 20 images
        a class, over three draws: mean recall out of fold 0.881 instead of 0.856 with equal weights of images, at an
        accuracy of 0.905 instead of 0.926; on test images of equal classes, log-loss 0.304 instead of 0.381.
        """
        counts = np.bincount(self.labels, minlength=self.classes)
        one = 1 / np.maximum(counts, counts.max() / _MOST_WEIGHT)[self.labels]
        weights = np.repeat((one / one.mean())[:, None], self.groups, axis=1).astype(np.float32)
        for group, fold in enumerate(self.judges):
            weights[self.folds == fold, group] = 0
        return weights

    @cached_property
    def truth(self) -> npt.NDArray[np.float32]:
        """1 for the class of each image, else 0; (n, classes)."""
        return np.eye(self.classes, dtype=np.float32)[self.labels]

    @cached_property
    def offset(self) -> npt.NDArray[np.float32]:
        """The logits of ``start``, (n, classes) or (1, 1)."""
        if self.start is None:
            return np.zeros((1, 1), np.float32)
        return self.start.logits(self.scaled).astype(np.float32)

    def finished(self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> list[Linear]:
        """The heads of what was fitted: weight (width, groups, classes), bias (groups, classes)."""
        heads = [Linear(np.ascontiguousarray(weight[:, group].T), bias[group]) for group in range(self.groups)]
        return heads if self.start is None else [head.plus(self.start) for head in heads]

    def out_of_fold(self, heads: Sequence[Linear]) -> Logits:
        """Logits (judged images, classes): each image's from the head that it was held out of."""
        logits = np.empty((len(self.labels), self.classes))
        for fold, head in zip(self.judges, heads, strict=False):
            rows = self.folds == fold
            logits[rows] = head.logits(self.scaled[rows])
        return logits[self.judged]
