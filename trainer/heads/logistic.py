"""Logistic regression with an L2 penalty, for all groups of a task in one run of L-BFGS.

It is fitted along the main directions of the features first, and from there in all of them. Both times the variables
are scaled by how much the loss curves along each. So 17 cheap steps and 5 full ones do what took 80 full ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import fmin_l_bfgs_b

from trainer.data.cache import Features
from trainer.heads.directions import Directions
from trainer.heads.linear import Linear, one_thread
from trainer.heads.task import FittingTask

#: L-BFGS ends when no derivative of the mean loss by a scaled variable is larger. Measured: with a tenth of this,
#: held-out log-loss changes by less than 0.001, and the fit takes twice as long.
EXACT = 3e-4
#: The same where heads are only compared, and along the main directions, which are not the end.
ROUGH = 1e-3
_MAX_ITERATIONS = 200
#: The curvature of the loss along a direction of variance 1 is p (1 - p) of a class, on average over images: about
#: 1 / classes, but at most this. Measured with 96 classes and a weak penalty: 19 steps instead of
#: 51 with the same for all.
_MOST_CURVATURE = 0.05
#: This many directions are scaled one by one in the full fit: along the others the loss curves less than the penalty.
_STEEP = 64
#: Logits that are computed at once: so few stay in the processor's cache.
_BLOCK = 1 << 18

Values = npt.NDArray[np.float64]


def fit_logistic(
    task: FittingTask,
    strengths: Sequence[float],
    *,
    tolerance: float = EXACT,
    full: bool = True,
) -> Iterator[list[Linear]]:
    """Yield the heads of every group for each strength in turn (scikit-learn's C: small is a strong penalty).

    Each fit starts from the one before, so give small strengths first; each is fitted only when it is asked for. The
    penalty is on what is added to ``task.start``, and not on the bias. Unless it is ``full``, the fit ends with the
    main directions, which is a tenth of the work.
    """
    directions, along = task.inputs.directions, task.inputs.along
    values = np.zeros((along.shape[1] + 1, task.groups * task.classes))
    for strength in strengths:
        penalty = 1 / (strength * len(task.labels))
        with one_thread():
            values = _minimise(task, along, penalty, values, _Scale.along(directions, penalty, task.classes), ROUGH)
            fitted = np.concatenate([directions.basis @ values[:-1], values[-1:]])
            if full:
                scale = _Scale.across(directions, penalty, task.classes)
                fitted = _minimise(task, task.scaled, penalty, fitted, scale, tolerance)
        weight, bias = fitted[:-1].astype(np.float32), fitted[-1].astype(np.float32)
        groups = (task.groups, task.classes)
        yield task.make_heads(weight.reshape(-1, *groups), bias.reshape(groups))


@dataclass(frozen=True)
class _Scale:
    """What the optimiser's variables are multiplied by: ``rows`` (width + 1, 1), plus ``factors`` along a ``basis``.

    ``basis`` (width, steep) is orthonormal; ``factors`` and the ``inverse`` that undoes them are (steep, 1).
    """

    rows: Values
    basis: npt.NDArray[np.float32] | None = None
    factors: npt.NDArray[np.float32] | None = None
    inverse: npt.NDArray[np.float32] | None = None

    @classmethod
    def along(cls, directions: Directions, penalty: float, classes: int) -> _Scale:
        """Scale values along the directions, and the bias."""
        return cls(np.append(_scale_of(directions.variances, penalty, classes), 1.0)[:, None])

    @classmethod
    def across(cls, directions: Directions, penalty: float, classes: int) -> _Scale:
        """Scale values of the features themselves, and the bias."""
        width = len(directions.basis)
        flat = float(_scale_of(directions.rest, penalty, classes))
        steep = _scale_of(directions.variances[:_STEEP], penalty, classes)[:, None]
        factors, inverse = (steep - flat).astype(np.float32), (1 / steep - 1 / flat).astype(np.float32)
        rows = np.append(np.full(width, flat), 1.0)[:, None]
        return cls(rows, np.ascontiguousarray(directions.basis[:, :_STEEP]), factors, inverse)

    def apply(self, variables: Values) -> Values:
        """Return the values (width + 1, columns) of variables. It is symmetric, so it serves for gradients as well."""
        return self._with(variables, variables * self.rows, self.factors)

    def undo(self, values: Values) -> Values:
        """Return the variables of values."""
        return self._with(values, values / self.rows, self.inverse)

    def _with(self, given: Values, result: Values, factors: npt.NDArray[np.float32] | None) -> Values:
        if self.basis is not None and factors is not None:
            result[:-1] += self.basis @ (factors * (self.basis.T @ given[:-1].astype(np.float32)))
        return result


def _scale_of(variance: npt.ArrayLike, penalty: float, classes: int) -> Values:
    """Return the scales that make the loss curve the same along directions of these variances."""
    curvature = min(_MOST_CURVATURE, 1 / classes)
    return np.sqrt(curvature / (curvature * np.asarray(variance, np.float64) + penalty))


def _minimise(
    task: FittingTask, inputs: Features, penalty: float, start: Values, scale: _Scale, tolerance: float
) -> Values:
    """Return the values (width + 1, columns) of the least cost; the last row is the bias."""
    optimum, _, _ = fmin_l_bfgs_b(
        _cost,
        scale.undo(start).ravel(),
        args=(task, inputs, penalty, scale),
        pgtol=tolerance,
        maxiter=_MAX_ITERATIONS,
    )
    return scale.apply(optimum.reshape(start.shape))


def _cost(
    variables: Values, task: FittingTask, inputs: Features, penalty: float, scale: _Scale
) -> tuple[float, Values]:
    """Return the penalised mean loss of inputs (n, width), summed over groups, and its gradient by the variables."""
    images, columns = len(task.labels), task.groups * task.classes
    values = scale.apply(variables.reshape(-1, columns))
    weight, bias = np.ascontiguousarray(values[:-1].T, np.float32), values[-1].astype(np.float32)[:, None]
    gradient = np.concatenate([penalty * values[:-1], np.zeros((1, columns))])
    cost = 0.5 * penalty * float(np.vdot(values[:-1], values[:-1]))
    rows = max(64, _BLOCK // columns)
    for start in range(0, images, rows):
        block = slice(start, start + rows)
        # Images come last: sums over few classes then take a tenth of the time, and they took half of all.
        loss, residual = _residual(weight @ inputs[block].T + bias, task, block)
        cost += loss / images
        residual /= np.float32(images)
        gradient[:-1] += inputs[block].T @ residual.T
        gradient[-1] += residual.sum(axis=1)
    return cost, scale.apply(gradient).ravel()


def _residual(
    logits: npt.NDArray[np.float32], task: FittingTask, block: slice
) -> tuple[float, npt.NDArray[np.float32]]:
    """Return the loss of m images, summed over groups, and its derivative by their logits.

    These are (groups * classes, m), and are overwritten.
    """
    labels, weights = task.labels[block], task.weights[block].T
    by_group = logits.reshape(task.groups, task.classes, len(labels))
    if task.start is not None:
        by_group += task.offset[block].T
    by_group -= by_group.max(axis=1, keepdims=True)
    images = np.arange(len(labels))
    true_logits = by_group[:, labels, images]
    np.exp(by_group, out=by_group)
    sums = by_group.sum(axis=1)
    loss = float(((np.log(sums) - true_logits) * weights).sum(dtype=np.float64))
    by_group *= (weights / sums)[:, None]
    by_group[:, labels, images] -= weights
    return loss, logits
