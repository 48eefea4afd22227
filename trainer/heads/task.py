"""What heads are fitted on: features, labels, and the folds that are held out in turn.

Every method fits the heads of all folds at once, together with the head of all images: they share the same batches or
the same matrix, in which an image held out of a head has weight 0. That takes hardly longer than one fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads.directions import Inputs
from trainer.heads.linear import Linear
from trainer.measuring.calibration import Labels, Logits

#: How much each image (rows) counts in the fit of each head (columns).
Weights = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: How much more an image of a rare class may count than one of the largest; with more, a few would decide too much.
_MAX_WEIGHT = 20


@dataclass(frozen=True)
class FittingTask:
    """The inputs of labelled images (n,), each in a fold (n,) or in none (`NEVER`: not judged).

    Each group has one head: one group for each fold, fitted on the others, and last the group fitted on all images.
    ``start`` is a head that all heads are added to, where there is one. A task whose heads are only compared, and
    not served, has no last group.
    """

    inputs: Inputs
    labels: Labels
    classes: int
    folds: Folds
    start: Linear | None = None
    serves: bool = True

    @property
    def scaled(self) -> Features:
        """The scaled features (n, width)."""
        return self.inputs.scaled

    @cached_property
    def judging_folds(self) -> list[int]:
        """The folds that hold images, in order."""
        return sorted({*self.folds.tolist()} - {NEVER})

    @property
    def groups(self) -> int:
        """The number of heads."""
        return len(self.judging_folds) + self.serves

    @property
    def judged(self) -> Mask:
        """Which images (n,) are held out of some head."""
        judged: Mask = self.folds != NEVER
        return judged

    def judged_by(self, images: int) -> FittingTask:
        """Return this task for a comparison: at least ``images`` are judged, in few folds, and no head is served."""
        sizes = np.cumsum([int((self.folds == fold).sum()) for fold in self.judging_folds])
        kept = self.judging_folds[: int(np.searchsorted(sizes, images)) + 1]
        return replace(self, folds=np.where(np.isin(self.folds, kept), self.folds, NEVER), serves=False)

    @cached_property
    def weights(self) -> Weights:
        """Weights (n, groups) of the images: for those that a head is fitted on 1 on average, for those held out 0.

        For each head every class counts the same, however many images of it are not held out: where there are few, a
        head would otherwise underrate the class of an image because that image is held out.

        Measured on scenes with 400, 50, 50, 50, 50 and 20 images a class, over ten draws (``python -m
        tests.benchmarks.head_figures``): mean recall out of fold .873 instead of .827 with equal weights of images, at
        an accuracy of .921 instead of .928; on images of equal classes, log-loss .323 instead of .456.
        """
        weights = np.zeros((len(self.labels), self.groups), np.float32)
        held_out = [self.folds == fold for fold in self.judging_folds]
        for group, fitted in enumerate([*(~fold for fold in held_out), np.full(len(self.labels), True)][: self.groups]):
            counts = np.bincount(self.labels[fitted], minlength=self.classes)
            balanced = 1 / np.maximum(counts, counts.max() / _MAX_WEIGHT)[self.labels[fitted]]
            weights[fitted, group] = balanced / balanced.mean()
        return weights

    @cached_property
    def one_hot(self) -> npt.NDArray[np.float32]:
        """The labels as (n, classes): 1 for the class of each image, else 0."""
        return np.eye(self.classes, dtype=np.float32)[self.labels]

    @cached_property
    def offset(self) -> npt.NDArray[np.float32]:
        """The logits of ``start`` (n, classes), or zero (1, 1) without one."""
        if self.start is None:
            return np.zeros((1, 1), np.float32)
        return self.start.logits(self.scaled).astype(np.float32)

    def make_heads(self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> list[Linear]:
        """Make heads of fitted values: weight (width, groups, classes), bias (groups, classes)."""
        heads = [Linear(np.ascontiguousarray(weight[:, group].T), bias[group]) for group in range(self.groups)]
        return heads if self.start is None else [head.added_to(self.start) for head in heads]

    def out_of_fold(self, heads: Sequence[Linear]) -> Logits:
        """Return logits (judged images, classes), each image's from the head that it was held out of."""
        logits = np.empty((len(self.labels), self.classes))
        for fold, head in zip(self.judging_folds, heads, strict=False):
            rows = self.folds == fold
            logits[rows] = head.logits(self.scaled[rows])
        return logits[self.judged]
