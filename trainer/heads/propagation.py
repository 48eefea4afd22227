"""Learn from unlabelled images too: propagate what a head predicts for them over a graph of neighbours.

Every fold's head predicts the unlabelled images, and each prediction is mixed with those for the images most like it
(label spreading, Zhou et al. 2003, but from a head's probabilities). A logistic head is then fitted on the labelled
images and on these predictions: the surer one is, the more it counts, and all classes count the same, since nobody
knows how often each occurs among the unlabelled images. No head gets to know a label that it is judged by.

Measured with 2 and 5 labelled images a class on six sets (tests/benchmarks/unlabelled.py; with 60 classes only 2):
accuracy on fold 4 rises by .031 with unlabelled images in equal shares, by .011 where they are skewed 1:20, and by .009
with images of another set among them, and falls by up to .028 in single sets. Taken only where they clearly help, which
is so in 43 % of draws, they bring .016, .004 and .003, and no set loses more than .004. Taken only where the head
served otherwise is not better either, which is so in 31 %, they bring .010, .004 and .003, and no set loses more than
.002: a little is lost with equal shares, but no fit is worse than the one without them by the figures that decide
whether it is published.

These figures are of heads that were not yet fitted along the main directions. Other ways were worse. Labels that are
spread, in place of a head's predictions, recognise unlabelled images worse where these are skewed. With a larger share
of the neighbours or with soft labels, part of the gain goes; where a class counts as often as it is predicted, or
unlabelled images as much as labelled ones, skewed sets lose. Two rounds of it are better with equal shares, and worse
with images of another set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags

from models.scoring import likeness
from models.text.language import mark
from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads.candidates import CandidateHead, View, logistic_candidate
from trainer.heads.directions import Inputs
from trainer.heads.linear import MIN_DELTA, Linear, one_thread, to_unit_length
from trainer.heads.logistic import fit_logistic
from trainer.heads.task import FittingTask, Weights
from trainer.heads.views import Part
from trainer.measuring.calibration import Losses, log_probabilities

#: How much of a prediction comes from the image's neighbours, and how often predictions are spread.
_NEIGHBOURS_SHARE, _ROUNDS = 0.7, 20
#: How many neighbours each image has.
_NEIGHBOURS = 10
#: How much all unlabelled images together count, compared with all labelled ones.
_UNLABELLED_SHARE = 0.5
#: The strength of the logistic head that is fitted on both.
_STRENGTH = 3e-2
#: By how many standard errors the loss must be lower.
_STANDARD_ERRORS = 1.0
#: Images compared with all others at a time, so that their cosines take little memory.
_ROWS = 1024

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _WeightedTask(FittingTask):
    """A task of one head, in which the images count as much as ``image_weights`` (n,) say."""

    image_weights: Weights | None = None

    @cached_property
    def weights(self) -> Weights:
        assert self.image_weights is not None
        return self.image_weights[:, None]


@dataclass(frozen=True)
class Propagation:
    """A ``candidate``, the number of its unlabelled ``images``, and what tells whether it is better than ``best``.

    ``best`` is the head that is served otherwise. ``losses`` and ``plain_losses`` (judged images,) are log-losses out
    of fold with and without unlabelled images: those of the two heads, or, where images are few, those of logistic
    heads, as means over all ways to fold.
    """

    images: int
    candidate: CandidateHead
    best: CandidateHead
    losses: Losses
    plain_losses: Losses

    @property
    def is_taken(self) -> bool:
        """Whether unlabelled images help clearly, and the head that would be served without them is not better."""
        return self.helps_clearly and self.is_no_worse

    @property
    def is_no_worse(self) -> bool:
        """Whether the candidate has as many judged images right as ``best``, in the same folds, and a lower loss.

        By these figures a new checkpoint is compared with the published one, so learning from unlabelled images cannot
        be what keeps it from being published.
        """
        return self.candidate.accuracy >= self.best.accuracy and self.candidate.loss < self.best.loss

    @property
    def helps_clearly(self) -> bool:
        """Whether the losses are lower by more than chance, and by enough to matter."""
        gains = self.plain_losses - self.losses
        if len(gains) < 2:
            return False
        return bool(gains.mean() > max(_STANDARD_ERRORS * gains.std() / np.sqrt(len(gains)), MIN_DELTA))


def neighbour_graph(scaled: Features) -> csr_matrix:
    """Return the symmetric, normalised graph (n, n) of images with these centred features (n, width)."""
    unit = scaled - scaled.mean(axis=0)
    to_unit_length(unit, [unit.shape[1]])
    count = len(unit)
    nearest = min(_NEIGHBOURS, count - 1)
    columns = np.empty((count, nearest), np.int64)
    cosines = np.empty((count, nearest))
    with one_thread():
        for start in range(0, count, _ROWS):
            rows = unit[start : start + _ROWS] @ unit.T
            own = np.arange(len(rows))
            rows[own, start + own] = -np.inf
            top = np.argpartition(rows, -nearest, axis=1)[:, -nearest:]
            columns[start : start + _ROWS] = top
            cosines[start : start + _ROWS] = np.take_along_axis(rows, top, axis=1)
    values = np.maximum(cosines, 0) ** 3
    graph = csr_matrix((values.ravel(), (np.repeat(np.arange(count), nearest), columns.ravel())), (count, count))
    graph = graph.maximum(graph.T)
    roots = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    return csr_matrix(roots @ graph @ roots)


def unlabelled_inputs(features: Features, parts: Sequence[Part], view: View) -> Features:
    """Return raw features (n, width of all parts) of other images as the inputs (n, width) of a view."""
    columns = np.split(features, np.cumsum([part.width for part in parts])[:-1], axis=1)
    if view.pretrained is not None:
        inputs = np.asarray(likeness(columns[view.parts[0]], view.pretrained), np.float32)
    else:
        inputs = np.concatenate([columns[part] for part in view.parts], axis=1)
        to_unit_length(inputs, [parts[part].width for part in view.parts])
    view.scaling.apply_in_place(inputs)
    return inputs


@dataclass(frozen=True)
class _Images:
    """The inputs of all images (labelled, then unlabelled), and which of them are neighbours."""

    inputs: Inputs
    graph: csr_matrix

    @classmethod
    def from_inputs(cls, labelled: Features, unlabelled: Features) -> _Images:
        scaled = np.concatenate([labelled, unlabelled])
        return cls(Inputs(scaled), neighbour_graph(scaled))


def propagate(
    view: View, best: CandidateHead, unlabelled: Features, parts: Sequence[Part], redrawn_folds: Sequence[Folds]
) -> Propagation:
    """Fit heads with ``unlabelled`` images too (m, width of all parts; raw), for a comparison with ``best``.

    Where there are ``redrawn_folds``, because images are few, logistic heads in all these divisions are compared.
    """
    images = _Images.from_inputs(view.task.scaled, unlabelled_inputs(unlabelled, parts, view))
    candidate = _candidate(view, images, best)
    if redrawn_folds:
        divisions = [_refolded(view, folds) for folds in (view.task.folds, *redrawn_folds)]
        compared = [_compare(division, images) for division in divisions]
    else:
        compared = [_losses_of_all(view, best, candidate)]
    # An image may be in no fold of a division, so the mean is over those that judge it.
    plain_losses, losses = np.nanmean(compared, axis=0)[:, view.task.judged]
    return Propagation(len(unlabelled), candidate, best, losses, plain_losses)


def _compare(view: View, images: _Images) -> Losses:
    """Return the losses (2, n) of logistic heads without and with unlabelled images."""
    plain = logistic_candidate(view, [_STRENGTH])
    return _losses_of_all(view, plain, _candidate(view, images, plain))


def _losses_of_all(view: View, plain: CandidateHead, other: CandidateHead) -> Losses:
    """Return the losses of two candidates (2, n) for all images; NaN where an image is not judged."""
    result = np.full((2, len(view.task.labels)), np.nan)
    result[:, view.task.judged] = plain.losses, other.losses
    return result


def _refolded(view: View, folds: Folds) -> View:
    """Return a view in other folds, without the head that is served."""
    return replace(view, task=replace(view.task, folds=folds, serves=False))


def _candidate(view: View, images: _Images, teacher: CandidateHead) -> CandidateHead:
    """Return the logistic candidate fitted on the labelled images and on what the heads of ``teacher`` predict."""
    teachers = [head.divided_by(teacher.temperature) for head in teacher.heads]
    heads = [_fit(view.task, images, group, head) for group, head in enumerate(teachers)]
    return view.candidate_from(mark("logistic with unlabelled images"), heads)


def _fit(task: FittingTask, images: _Images, group: int, teacher: Linear) -> Linear:
    """Fit one group's head on its labelled images and on predictions for the unlabelled ones."""
    count, weights = len(task.labels), task.weights[:, group]
    fitted = weights > 0  # the others are held out: their labels are not to be known
    predictions = np.exp(log_probabilities(teacher.logits(images.inputs.scaled)))
    predictions[:count][fitted] = task.one_hot[fitted]
    spread = _spread(images.graph, predictions)[count:]
    labels, certainty = spread.argmax(axis=1), _certainty(spread)
    certainty_of_classes = np.bincount(labels, certainty, task.classes)
    counted = certainty / np.maximum(certainty_of_classes[labels], 1e-9)
    counted *= _UNLABELLED_SHARE * weights.sum() / max(counted.sum(), 1e-9)
    used = np.concatenate([fitted, counted > 0])
    image_weights = np.concatenate([weights, counted])[used]
    # L-BFGS ends by the derivatives of the mean loss, so the mean weight is brought to 1 and the penalty along with it.
    mean = float(image_weights.mean())
    weighted = _WeightedTask(
        images.inputs.rows(used),
        np.concatenate([task.labels, labels])[used],
        task.classes,
        np.full(len(image_weights), NEVER),
        task.start,
        image_weights=(image_weights / mean).astype(np.float32),
    )
    ((head,),) = fit_logistic(weighted, [_STRENGTH * mean])
    return head


def _spread(graph: csr_matrix, predicted: Probabilities) -> Probabilities:
    result = predicted
    for _ in range(_ROUNDS):
        result = _NEIGHBOURS_SHARE * (graph @ result) + (1 - _NEIGHBOURS_SHARE) * predicted
    normalised: Probabilities = result / result.sum(axis=1, keepdims=True)
    return normalised


def _certainty(probabilities: Probabilities) -> Probabilities:
    """Return 1 minus the entropy (n,) over its largest value."""
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    certainty: Probabilities = np.maximum(1 - entropy / np.log(probabilities.shape[1]), 0)
    return certainty
