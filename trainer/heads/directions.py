"""The main directions of features: most of what a linear head needs, and what makes its fit quick.

Known features vary much in few directions and little in the others: the variances of the embedded backbone's 1,280
features, scaled to a mean of 1, are 170 in the first direction, 2 in the hundredth and 0.02 in the last. An optimiser
that treats all directions alike needs several times as many steps, and working along the main ones alone takes a fifth
of the time. They are found once, for all heads that are fitted on the same features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from trainer.data.cache import Features
from trainer.heads.linear import one_thread

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating[Any]]

#: Images that the directions are computed from: half of all, within these bounds. That many are enough; the largest
#: number takes a sixth of a second.
_FEWEST_IMAGES, _MOST_IMAGES = 512, 1024
_RANK = 256
#: Variances below this share of the largest are rounding.
_LEAST = 1e-6


def principal(moments: Array, count: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues (count,) of a symmetric matrix, in order, and their vectors (size, count)."""
    size = len(moments)
    if size <= _FEWEST_IMAGES:  # then it is faster to find all of them: 25 ms instead of 39 for 256 of 512
        values, vectors = eigh(moments, driver="evd", check_finite=False)
    else:
        values, vectors = eigh(moments, subset_by_index=(size - count, size - 1), check_finite=False)
    return values[::-1][:count], vectors[:, ::-1][:, :count]


@dataclass(frozen=True)
class Directions:
    """Orthonormal columns ``basis`` (width, rank), the variances (rank,) along them, and (``rest``) along any other."""

    basis: Array
    variances: Array
    rest: float

    @classmethod
    @one_thread()
    def from_features(cls, scaled: Features) -> Directions:
        """Find the directions of centred features (n, width); with few images they span all of these."""
        count, width = scaled.shape
        some = scaled
        enough = min(max(count // 2, _FEWEST_IMAGES), _MOST_IMAGES)
        if count > enough:
            some = scaled[np.sort(np.random.default_rng(0).choice(count, enough, replace=False))]
        products = some @ some.T if len(some) < width else some.T @ some
        values, vectors = principal(products, _RANK)
        kept = values > _LEAST * max(float(values[0]), 1e-12)
        values, vectors = values[kept], vectors[:, kept]
        if len(some) < width:
            vectors = some.T @ (vectors / np.sqrt(values))
        rest = max(float(products.trace()) - float(values.sum()), 0.0) / len(some) / max(width - len(values), 1)
        variances = (values / len(some)).astype(np.float32)
        return cls(np.ascontiguousarray(vectors, np.float32), variances, rest)


@dataclass(frozen=True)
class Inputs:
    """What heads are fitted on: scaled features (n, width), with their main directions."""

    scaled: Features

    @cached_property
    def directions(self) -> Directions:
        """The main directions of the features."""
        return Directions.from_features(self.scaled)

    @cached_property
    def along(self) -> Features:
        """The features (n, rank) along the main directions."""
        with one_thread():
            along: Features = self.scaled @ self.directions.basis
        return along

    def in_all_directions(self) -> Inputs:
        """Return these inputs with every feature as a direction, unless the main ones span all features already."""
        width, rank = self.directions.basis.shape
        if rank < _RANK or rank == width:  # fewer than were looked for: there are no others
            return self
        whole = Inputs(self.scaled)
        variances = np.full(width, np.float32(1))
        whole.__dict__.update(directions=Directions(np.eye(width, dtype=np.float32), variances, 0.0), along=self.scaled)
        return whole

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Inputs:
        """Return some of the rows (positions or a mask), with the directions of all."""
        part = Inputs(self.scaled[chosen])
        part.__dict__.update(directions=self.directions, along=self.along[chosen])
        return part
