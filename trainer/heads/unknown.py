"""What is like no image that a head was fitted on, whatever class the head takes it for.

Known images vary in few directions of the features. An image whose features lie far from the span of these directions
is something else: the residual of ViM (Wang et al., CVPR 2022). Measured with the embedded backbone, fold 4 of one set
against all of another set (area under the ROC curve; scenes against insects and small objects, insects against scenes
and small objects): this .997 .994 .999 .996, shrunk Mahalanobis distance .997 .995 .999 .997 (which takes a matrix of
6.5 MB), cosine to the nearest class mean .997 .993 .993 .972, energy .980 .978 .835 .799, the greatest probability .952
.937 .835 .799. Relative Mahalanobis distance was of no use, and a class of scenes held back is found by none of them
reliably: what resembles the known images is left to the probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads.linear import one_thread

#: So many directions at most, and one for every few images. Measured as above with 96 images of six classes: 8
#: directions find 92 % and 68 % of unknown images, 32 directions 85 % and 62 %.
_DIRECTIONS, _IMAGES_PER_DIRECTION = 64, 8
#: With fewer images there is no telling how far a known one may lie.
_FEWEST = 16
#: The share of known images that may be taken for unknown ones, on average over data sets. With fewer than 49 images
#: it is one in as many as there are, since the limit is the largest distance then.
REFUSED = 0.02
#: Images that are measured at once, so that what is computed on the way takes little memory.
_ROWS = 1024

Basis = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """The ``basis`` (rank, width) of the directions in which known images vary, and how far from it is too far.

    ``distances`` (n,) are those of images that had no part in the basis they were measured by, or NaN.
    """

    basis: Basis
    limit: float
    distances: Distances

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether each of the images (n,) counts as known; those that were not measured do."""
        known: npt.NDArray[np.bool_] = ~(self.distances > self.limit)
        return known


def learn(scaled: Features, folds: Folds) -> Span | None:
    """The span of centred, scaled features (n, width) as the head gets them; None with too few images.

    The limit comes from the images of each fold (n,), measured by a basis of the images outside that fold.
    """
    judges = sorted({*folds.tolist()} - {NEVER})
    judged = folds != NEVER
    others = len(folds) - max((int((folds == judge).sum()) for judge in judges), default=0)
    rank = min(_DIRECTIONS, others // _IMAGES_PER_DIRECTION)
    if judged.sum() < _FEWEST or rank == 0:
        return None
    distances = np.full(len(folds), np.nan)
    with one_thread():
        # Of the images outside a fold, which are most of them, no copy is made.
        moments, total = scaled.T @ scaled, scaled.sum(axis=0, dtype=np.float64)
        for judge in judges:
            out = folds == judge
            held, count = scaled[out], int((~out).sum())
            mean = ((total - held.sum(axis=0, dtype=np.float64)) / count).astype(np.float32)
            basis = _basis(moments - held.T @ held - count * np.outer(mean, mean), rank)
            held -= mean
            distances[out] = distance(held, basis)
        return Span(_basis(moments, rank), _limit(distances[judged]), distances)


def distance(centred: Features, basis: Basis) -> Distances:
    """How far (n,) centred features (n, width) lie from the span of an orthonormal basis (rank, width)."""
    result = np.empty(len(centred))
    for start in range(0, len(centred), _ROWS):
        rows = centred[start : start + _ROWS]
        result[start : start + _ROWS] = np.linalg.norm(rows - (rows @ basis.T) @ basis, axis=1)
    return result


def _basis(moments: Features, rank: int) -> Basis:
    """The ``rank`` main directions of features with these second moments (width, width), by a randomised method."""
    from sklearn.utils.extmath import randomized_svd

    directions = randomized_svd(moments, rank, n_iter=4, random_state=0)[0]
    return np.ascontiguousarray(directions.T, np.float32)


def _limit(distances: Distances) -> float:
    """The distance that a new known image exceeds with a probability of at most ``REFUSED``, as far as n allow it.

    It is the split-conformal quantile (Vovk et al. 2005): of n + 1 like images the new one is as likely as any other to
    be the farthest.
    """
    rank = math.ceil((1 - REFUSED) * (len(distances) + 1))
    return float(np.sort(distances)[min(rank, len(distances)) - 1])
