"""Made-up features: clusters around one centre a class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.heads.directions import Inputs
from trainer.heads.linear import Linear, to_unit_length
from trainer.heads.task import FittingTask

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def clusters(count: int, classes: int, width: int = 12, spread: float = 0.6, seed: int = 0) -> tuple[Floats, Ints]:
    """Features around one centre a class, in turn."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, width))
    labels = np.arange(count) % classes
    return (centres[labels] + random.normal(0, spread, (count, width))).astype(np.float32), labels.astype(np.int64)


def unit_length(features: Floats, *widths: int) -> Floats:
    """A copy of which each part of these widths has unit length."""
    copy = features.copy()
    to_unit_length(copy, widths)
    return copy


def folded(count: int, folds: int = 3, seed: int = 0) -> Ints:
    """A random fold for each image."""
    return np.random.default_rng(seed).integers(0, folds, count)


def task(
    count: int, classes: int, *, folds: int = 3, width: int = 12, spread: float = 0.6, start: Linear | None = None
) -> FittingTask:
    """Clusters in random folds; with ``folds`` 0 no image is judged."""
    features, labels = clusters(count, classes, width, spread)
    return FittingTask(Inputs(features), labels, classes, folded(count, folds) if folds else np.full(count, -1), start)
