"""Tell unknown images: those unlike all images that a head was fitted on, whatever class it predicts.

Known images vary in few directions of the features. An image whose features lie far from the span of these directions
is unknown: the residual of ViM (Wang et al., CVPR 2022). Measured with the embedded backbone, fold 4 of one set against
all of another set (area under the ROC curve; scenes against insects and small objects, insects against scenes and small
objects): residual .996 .994 .998 .995. Before the basis was found along the main directions alone it was .997 .994 .999
.996, beside shrunk Mahalanobis distance .997 .995 .999 .997 (which takes a matrix of 6.5 MB), cosine to the nearest
class mean .997 .993 .993 .972, energy .980 .978 .835 .799, and the greatest probability .952 .937 .835 .799. Relative
Mahalanobis distance was of no use. None of them reliably refuses a class of scenes that was left out: what resembles
the known images is refused by the energy (`trainer.heads.missing_classes`), or is under the threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr

from models.checkpoints.metadata import Unknown
from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads.directions import Inputs, principal
from trainer.heads.linear import one_thread

#: The most directions, and the images needed for each: with 96 images of six classes, 32 directions tell unknown images
#: no better than 8.
_DIRECTIONS, _IMAGES_PER_DIRECTION = 64, 8
#: With fewer images it cannot be told how far a known one may lie.
_MIN_IMAGES = 16
#: The share of known images that are refused as unknown, on average over data sets. With n < 49 images it is up to
#: one in n + 1, since the limit is then the largest distance.
REFUSED_SHARE = 0.02
#: Images measured at a time, so that intermediate results take little memory.
_ROWS = 1024

Basis = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """The ``basis`` (rank, width) of the directions in which known images vary, and the ``limit``: farther is unknown.

    ``distances`` (n,) are out of fold: each from a basis that was fitted without the image; NaN where not judged. With
    an ``energy_weight`` they are sums, see `models.checkpoints.metadata.Unknown` and `trainer.heads.missing_classes`.
    """

    basis: Basis
    limit: float
    distances: Distances
    energy_weight: float = 0.0
    usual_energy: float = 0.0

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which images (n,) count as known; those without a distance do."""
        known: npt.NDArray[np.bool_] = ~(self.distances > self.limit)
        return known

    @property
    def rule(self) -> Unknown:
        """What a checkpoint says of unknown images."""
        return Unknown(
            limit=self.limit,
            refused=REFUSED_SHARE,
            energy_weight=self.energy_weight,
            usual_energy=self.usual_energy,
        )


def fit_span(inputs: Inputs, folds: Folds) -> Span | None:
    """Fit the span of centred, scaled features as the head gets them; None with too few images.

    The limit comes from the images of each fold (n,), measured by a basis of the images outside that fold.
    """
    judged = folds != NEVER
    largest = np.bincount(folds[judged]).max() if judged.any() else 0
    # All directions together would tell nothing.
    rank = min(_DIRECTIONS, inputs.scaled.shape[1] // 2, (len(folds) - int(largest)) // _IMAGES_PER_DIRECTION)
    if judged.sum() < _MIN_IMAGES or rank == 0:
        return None
    distances = out_of_fold_distances(inputs, folds, rank)
    with one_thread():
        basis = _basis(inputs, inputs.along.T @ inputs.along, rank)
    return Span(basis, limit_of(distances[judged]), distances)


@one_thread()
def out_of_fold_distances(inputs: Inputs, folds: Folds, rank: int) -> Distances:
    """Return how far (n,) each image of a fold lies from the span of the images outside; NaN where it is in none."""
    scaled, along = inputs.scaled, inputs.along
    distances = np.full(len(folds), np.nan)
    # Subtracts the fold from the total, since a copy of the images outside it would be nearly as large as all.
    moments = along.T @ along
    total, total_along = scaled.sum(axis=0, dtype=np.float64), along.sum(axis=0, dtype=np.float64)
    for fold in sorted({*folds.tolist()} - {NEVER}):
        held_out = folds == fold
        rows, count = np.flatnonzero(held_out), int((~held_out).sum())
        blocks = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]  # no copy of the fold either
        mean = (total - sum(scaled[block].sum(axis=0, dtype=np.float64) for block in blocks)) / count
        mean_along = (total_along - along[held_out].sum(axis=0, dtype=np.float64)) / count
        products = along[held_out].T @ along[held_out] + count * np.outer(mean_along, mean_along)
        basis = _basis(inputs, moments - products.astype(np.float32), rank)
        for block in blocks:
            distances[block] = distances_to_span(scaled[block] - mean.astype(np.float32), basis)
    return distances


def distances_to_span(centred: Features, basis: Basis) -> Distances:
    """Return how far (n,) centred features (n, width) lie from the span of an orthonormal basis (rank, width)."""
    result = np.empty(len(centred))
    for start in range(0, len(centred), _ROWS):
        rows = centred[start : start + _ROWS]
        result[start : start + _ROWS] = np.linalg.norm(rows - (rows @ basis.T) @ basis, axis=1)
    return result


def _basis(inputs: Inputs, moments: Features, rank: int) -> Basis:
    """Return the ``rank`` principal directions (rank, width) of images with these second moments (size, size).

    The moments are those along the main directions of the inputs, among which the principal ones of any large part are.
    With half as many of these, a third more of the known images were refused: the first ones best fit the very images
    that they were computed from.
    """
    # Not quite orthonormal, as the main directions of few images are not.
    directions = inputs.directions.basis @ principal(moments, rank)[1]
    return np.ascontiguousarray(qr(directions, mode="economic", check_finite=False)[0].T, np.float32)


def limit_of(distances: Distances) -> float:
    """Return the distance that a known image exceeds with a probability of `REFUSED_SHARE`, or the largest with few.

    This is the split-conformal quantile (Vovk et al. 2005): of n + 1 like images the new one is as likely as any other
    to be the farthest.
    """
    rank = math.ceil((1 - REFUSED_SHARE) * (len(distances) + 1))
    return float(np.sort(distances)[min(rank, len(distances)) - 1])
