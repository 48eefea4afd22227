"""Discriminant analysis with a shrunk covariance: a closed-form head that is strong with few images.

Gaussian classes with one covariance (GDA; as a head on frozen features: Wang et al. 2024, "A hard-to-beat baseline for
training-free CLIP-based adaptation"). The classes are taken to be equally frequent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from trainer.heads.directions import Inputs
from trainer.heads.linear import Linear, one_thread
from trainer.heads.task import FittingTask, Mask

Array = npt.NDArray[np.floating[Any]]

#: Features are not Gaussian, so the logits are about this many times too large.
_OVERCONFIDENCE = 10.0
#: The least variance, for features of variance 1: with one image a class there is none around the mean.
_MIN_VARIANCE = 0.1


@one_thread()
def fit_discriminant(task: FittingTask, shrinkages: Sequence[float]) -> list[list[Linear]]:
    """Fit the heads of every group for each shrinkage (0..1: from the covariance to a multiple of the identity).

    The covariance is that along the main directions; in any other direction the variance is taken to be the same.
    """
    moments = {fold: _Moments.from_images(task, task.folds == fold) for fold in {*task.folds.tolist()}}
    total = sum(moments.values(), start=_Moments.from_images(task, np.zeros(len(task.folds), np.bool_)))
    heads_by_shrinkage: list[list[Linear]] = [[] for _ in shrinkages]
    for fold in [*task.judging_folds, None][: task.groups]:
        gaussians = _Gaussians.from_moments(total if fold is None else total - moments[fold], task.inputs)
        for shrinkage, heads in zip(shrinkages, heads_by_shrinkage, strict=True):
            heads.append(gaussians.head(shrinkage))
    return heads_by_shrinkage


@dataclass(frozen=True)
class _Moments:
    """Sums over images: their number by class (classes, 1), the features by class (classes, width), the squares of
    all features, and the products along the main directions (rank, rank).
    """

    counts: Array
    sums: Array
    squares: float
    products: Array

    @classmethod
    def from_images(cls, task: FittingTask, rows: Mask) -> _Moments:
        scaled, along, truth = task.scaled[rows], task.inputs.along[rows], task.one_hot[rows]
        counts = truth.sum(axis=0, dtype=np.float64)[:, None]
        return cls(counts, truth.T @ scaled, float(np.vdot(scaled, scaled)), along.T @ along)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.counts + other.counts,
            self.sums + other.sums,
            self.squares + other.squares,
            self.products + other.products,
        )

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.counts - other.counts,
            self.sums - other.sums,
            self.squares - other.squares,
            self.products - other.products,
        )


@dataclass(frozen=True)
class _Gaussians:
    """Classes' means (classes, width), the same along the main directions of the inputs, and the covariance there.

    ``variance`` is the mean variance of all features, ``rest`` that in any direction other than the main ones.
    """

    means: Array
    means_along: Array
    covariance: Array
    variance: float
    rest: float
    basis: Array

    @classmethod
    def from_moments(cls, moments: _Moments, inputs: Inputs) -> _Gaussians:
        """A class without any image gets the mean of all."""
        counts, images = moments.counts, max(float(moments.counts.sum()), 1.0)
        means = np.where(counts > 0, moments.sums / np.maximum(counts, 1), moments.sums.sum(axis=0) / images)
        basis = inputs.directions.basis
        along = means @ basis
        covariance = (moments.products - (along * counts).T @ along) / images
        width, rank = basis.shape
        whole = max((moments.squares - float((counts * means**2).sum())) / images, 0.0)
        rest = max(whole - float(covariance.trace()), 0.0) / max(width - rank, 1)
        return cls(means, along, covariance, whole / width, rest, basis)

    def head(self, shrinkage: float) -> Linear:
        shrunk = self.covariance * (1 - shrinkage)
        floor = shrinkage * max(self.variance, _MIN_VARIANCE)
        shrunk.flat[:: len(shrunk) + 1] += floor
        solved = cho_solve(cho_factor(shrunk, overwrite_a=True, check_finite=False), self.means_along.T).T
        flat = (1 - shrinkage) * self.rest + floor
        weight = self.means / flat + (solved - self.means_along / flat) @ self.basis.T
        bias = -0.5 * (weight * self.means).sum(axis=1)
        return Linear(weight.astype(np.float32), bias.astype(np.float32)).divided_by(_OVERCONFIDENCE)
