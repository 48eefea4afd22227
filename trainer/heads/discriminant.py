"""Discriminant analysis with a shrunk covariance: a closed-form head that is strong with few images.

Gaussian classes with one covariance (GDA; as a head on frozen features: Wang et al. 2024, "A hard-to-beat baseline for
training-free CLIP-based adaptation"). The classes are taken to be equally frequent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from trainer.heads.linear import Linear, one_thread
from trainer.heads.task import FittingTask

#: Features are not Gaussian, so the logits are about this many times too large.
_OVERCONFIDENCE = 10.0
#: The least variance, for features of variance 1: with one image a class there is none around the mean.
_MIN_VARIANCE = 0.1


@one_thread()
def fit_discriminant(task: FittingTask, shrinkages: Sequence[float]) -> list[list[Linear]]:
    """Fit the heads of every group for each shrinkage (0..1: how far the covariance is drawn to a multiple of one)."""
    total_squares = task.scaled.T @ task.scaled
    heads_by_shrinkage: list[list[Linear]] = [[] for _ in shrinkages]
    for group in range(task.groups):
        held_out = task.weights[:, group] == 0
        held_out_features = task.scaled[held_out]
        means, covariance = _moments(task, ~held_out, total_squares - held_out_features.T @ held_out_features)
        for shrinkage, heads in zip(shrinkages, heads_by_shrinkage, strict=True):
            heads.append(_head(means, covariance, shrinkage))
    return heads_by_shrinkage


def _moments(
    task: FittingTask, rows: npt.NDArray[np.bool_], squares: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the classes' means (classes, width) over ``rows`` and the covariance around them (width, width).

    A class without any row gets the mean of all rows. ``squares`` (width, width), the sum over ``rows``, is
    overwritten.
    """
    truth = task.one_hot * rows[:, None]
    counts = truth.sum(axis=0)[:, None]
    sums = truth.T @ task.scaled
    means = sums / np.maximum(counts, 1)
    squares -= (means * counts).T @ means
    squares /= max(int(rows.sum()), 1)
    return np.where(counts > 0, means, sums.sum(axis=0) / max(int(rows.sum()), 1)).astype(np.float32), squares


def _head(means: npt.NDArray[np.float32], covariance: npt.NDArray[np.float32], shrinkage: float) -> Linear:
    width = len(covariance)
    shrunk = covariance * np.float32(1 - shrinkage)
    shrunk.flat[:: width + 1] += np.float32(shrinkage * max(np.trace(covariance) / width, _MIN_VARIANCE))
    weight = cho_solve(cho_factor(shrunk, overwrite_a=True, check_finite=False), means.T, check_finite=False).T
    bias = -0.5 * (weight * means).sum(axis=1)
    return Linear(weight.astype(np.float32), bias.astype(np.float32)).divided_by(_OVERCONFIDENCE)
