"""Refuse what resembles the known images but is of none of their classes, and say how well that works.

The images of a class that is missing lie where the known images vary, so their distance from the span of those tells
little. But no class fits them well, which shows in the energy of the logits (`models.scoring.energies`). The two are
added up, each in units of its spread over the known images, and the limit is that of the sum: no more known images are
refused than by the distance alone.

How much the energy counts is learned from classes that are left out in turn, whose images then stand in for unknown
ones. The heads without them are fitted again: a head that has learned what a class is not like knows its images too
well. With only its column dropped, 45 % of the images of six scenes were refused; with heads that never saw it, 24 %.

Measured with the embedded backbone as means over each class left out, on images of fold 4 and with limits at which 2 %
of the known images are refused out of fold (``python -m tests.benchmarks.unknowns``): of the images of the missing
class 22 % of scenes are refused (13 % by the distance alone), 25 % instead of 12 % where one label in twenty is wrong,
and of small photographs 1 to 10 % either way. Insects among scenes are refused as well as before (99.5 to 99.8 %).
Little is won where the threshold is high: an image that is surely mistaken has as little energy as known images.

The rest was measured before these heads were fitted along the main directions alone. With 16 to 30 images a class the
gain was 0 to 6 %. Other scores were tried beside the distance. In place of the energy, the greatest probability refuses
21 % of scenes where the energy refuses 22 %, the distance from the nearest class mean 17 %, ten nearest neighbours in
the span 22 % (and insects only to 89 %), the logits of discriminant analysis 25 %, at the cost of a second head. With
the energy, nearest neighbours add 2 %, these logits 3 %, the nearest class mean nothing. The larger of two scores, each
with its limit, refuses fewer than their sum (19 to 21 %).

Not measured: CLIP and the hybrid, for want of trained weights, and so not int8 either, in which only transformers
run. The golden samples of a checkpoint only bound how far int8 may change the strangeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.scoring import energies
from trainer.heads.candidates import CandidateHead
from trainer.heads.logistic import fit_logistic
from trainer.heads.task import FittingTask, Mask
from trainer.heads.unknown import Distances, Span, limit_of, out_of_fold_distances
from trainer.measuring.calibration import Labels, Logits, log_probabilities

#: How much a spread of the energy may count beside one of the distance. A larger weight misses what is like no known
#: image at all: of small photographs of things, 98.8 % were refused among scenes with 1, 95 % with 2 and 90 % with 4.
_USUAL_WEIGHT, _OTHER_WEIGHTS = 1.0, (0.5, 2.0)
#: Another weight than the usual is taken if it refuses so much more of the images of classes left out.
_CLEARLY = 0.05
#: Up to `_GROUPS` classes are left out one by one, more in as many groups, and more than `_MANY_CLASSES` in
#: `_FEW_GROUPS`.
_GROUPS, _FEW_GROUPS, _MANY_CLASSES = 10, 5, 50
#: Images that the heads without some classes are fitted on, at most.
_IMAGES = 3000
#: The quantiles between which the spread over known images is taken, and an energy spread that counts as none.
_MIDDLE, _NO_SPREAD = (1 / 6, 5 / 6), 1e-6
#: With fewer classes nothing is left to choose among when one is left out.
_MIN_CLASSES = 3
#: With fewer classes nothing can be said of missing ones: two are left when one is left out, and the likelier of two is
#: never less than half sure.
_MIN_CLASSES_TO_TELL = 4


@dataclass(frozen=True)
class MissingClasses:
    """What would become of images (n,) if the class of each, its position in ``labels``, were missing.

    Each would be taken for the class ``taken_for`` instead, with the probability ``confidence``, if it were not among
    the ``unknown``, which would be refused all the same.
    """

    labels: Labels
    taken_for: Labels
    confidence: npt.NDArray[np.float64]
    unknown: Mask

    @property
    def classes(self) -> list[int]:
        """The classes that were left out."""
        return sorted({*self.labels.tolist()})

    def filed(self, label: int, threshold: float) -> Mask:
        """Tell which of the images (n,) are of this class and would be filed, wrongly."""
        filed: Mask = (self.labels == label) & (self.confidence >= threshold) & ~self.unknown
        return filed

    def filed_share(self, label: int, threshold: float) -> float:
        """Return the share of a class's images that would be filed; NaN where none was tried."""
        count = int((self.labels == label).sum())
        return float(self.filed(label, threshold).sum() / count) if count else float("nan")

    def refused_share(self, label: int) -> float:
        """Return the share of a class's images that would be refused as unknown."""
        return float(self.unknown[self.labels == label].mean())

    def mostly_into(self, label: int, threshold: float) -> int | None:
        """Return the class that most images of a class would be filed into; None where none is filed."""
        into = self.taken_for[self.filed(label, threshold)]
        return int(np.bincount(into).argmax()) if len(into) else None


@dataclass(frozen=True)
class _StandIns:
    """Images (m,) of classes that were left out together, and the known images (k,) of the other ``classes``.

    Logits are calibrated. Each image is judged by a span and a head that were fitted without it.
    """

    labels: Labels
    classes: Labels
    distances: Distances
    logits: Logits
    known_distances: Distances
    known_logits: Logits

    def refused(self, weight: float) -> Mask:
        """Return which of the stand-ins (m,) are refused at the limit of the known images."""
        known, unknown, exchange_rate = self._energies
        limit = limit_of(self.known_distances + weight * exchange_rate * known)
        refused: Mask = self.distances + weight * exchange_rate * unknown > limit
        return refused

    @cached_property
    def _energies(self) -> tuple[Distances, Distances, float]:
        """How far the energies of known images (k,) and stand-ins (m,) lie above the usual; their rate of exchange."""
        known = energies(self.known_logits)
        usual = np.median(known)
        return known - usual, energies(self.logits) - usual, _exchange_rate(self.known_distances, known)


def with_energies(
    span: Span, task: FittingTask, logits: Logits, reference: CandidateHead
) -> tuple[Span, MissingClasses | None]:
    """Add the energy to a span; tell also what would become of images of a missing class, None if that cannot be told.

    ``logits`` (judged, classes) of the chosen head are calibrated and out of fold. Heads without some classes are
    fitted like ``reference``, a logistic one, whose predictions for the known images set their limit.
    """
    if task.classes < 2:
        return span, None
    stand_ins = _leave_classes_out(span, task, reference)
    weight = _best_weight(stand_ins)
    distances, energy = span.distances[task.judged], energies(logits)
    scale, usual = weight * _exchange_rate(distances, energy), float(np.median(energy))
    combined = np.full(len(task.labels), np.nan)
    combined[task.judged] = distances + scale * (energy - usual)
    limit = limit_of(combined[task.judged])
    sharpened = replace(span, limit=limit, distances=combined, energy_weight=scale, usual_energy=usual)
    can_tell = len(np.unique(task.labels)) >= _MIN_CLASSES_TO_TELL
    return sharpened, _missing_classes(stand_ins, weight) if can_tell else None


def _exchange_rate(distances: Distances, energy: Distances) -> float:
    """Return how much distance one unit of energy is worth where both vary the same over the known images."""
    # Of the middle two thirds: one odd image must not say how much all vary.
    (low, high), (least, most) = np.quantile(distances, _MIDDLE), np.quantile(energy, _MIDDLE)
    return float((high - low) / (most - least)) if most - least > _NO_SPREAD else 0.0


def _leave_classes_out(span: Span, task: FittingTask, reference: CandidateHead) -> list[_StandIns]:
    """Fit spans and heads without some classes, all classes in turn; nothing where too few classes would be left."""
    present = np.unique(task.labels)
    if len(present) < _MIN_CLASSES or reference.strength is None:
        return []
    group_of = np.zeros(task.classes, np.int64)
    # Neighbours in the alphabet, which may be alike, come into different groups.
    group_of[present] = np.arange(len(present)) % (_GROUPS if len(present) <= _MANY_CLASSES else _FEW_GROUPS)
    rows = _balanced(task.labels)
    inputs, labels = task.inputs.rows(rows), task.labels[rows]
    # The images of each group are a fold, so that the head of this fold has never seen their classes.
    folds = group_of[labels]
    compared = FittingTask(inputs, labels, task.classes, folds, task.start, serves=False)
    (heads,) = fit_logistic(compared, [reference.strength], full=False)
    distances = out_of_fold_distances(inputs, folds, len(span.basis))
    known_logits = reference.out_of_fold / reference.temperature
    known_distances, known_groups = span.distances[task.judged], group_of[task.labels[task.judged]]
    stand_ins = []
    for group, head in zip(compared.judging_folds, heads, strict=True):
        out, known, left = folds == group, known_groups != group, np.flatnonzero(group_of != group)
        logits = head.logits(inputs.scaled[out])[:, left] / reference.temperature
        stand_ins.append(
            _StandIns(labels[out], left, distances[out], logits, known_distances[known], known_logits[known][:, left])
        )
    return [left_out for left_out in stand_ins if len(left_out.known_distances)]


def _balanced(labels: Labels) -> Labels:
    """Return the positions of up to `_IMAGES` images, at random, and as evenly over the classes as can be."""
    random, ranks = np.random.default_rng(0), np.empty_like(labels)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranks[random.permutation(rows)] = np.arange(len(rows))
    return np.sort(np.argsort(ranks, kind="stable")[:_IMAGES])


def _best_weight(stand_ins: Sequence[_StandIns]) -> float:
    """Return how much the energy counts: as usual, or what refuses clearly more where classes are left out."""
    if not stand_ins:
        return _USUAL_WEIGHT
    shares = {weight: _refused_share(stand_ins, weight) for weight in (_USUAL_WEIGHT, *_OTHER_WEIGHTS)}
    best = max(_OTHER_WEIGHTS, key=lambda weight: shares[weight])
    return best if shares[best] >= shares[_USUAL_WEIGHT] + _CLEARLY else _USUAL_WEIGHT


def _refused_share(stand_ins: Sequence[_StandIns], weight: float) -> float:
    """Return the share of stand-ins that is refused, averaged over classes."""
    labels = np.concatenate([left_out.labels for left_out in stand_ins])
    refused = np.concatenate([left_out.refused(weight) for left_out in stand_ins])
    counts = np.bincount(labels)
    shares = np.bincount(labels, refused)[counts > 0] / counts[counts > 0]
    return float(shares.mean())


def _missing_classes(stand_ins: Sequence[_StandIns], weight: float) -> MissingClasses | None:
    if not stand_ins:
        return None
    return MissingClasses(
        np.concatenate([left_out.labels for left_out in stand_ins]),
        np.concatenate([left_out.classes[left_out.logits.argmax(axis=1)] for left_out in stand_ins]),
        np.concatenate([np.exp(log_probabilities(left_out.logits).max(axis=1)) for left_out in stand_ins]),
        np.concatenate([left_out.refused(weight) for left_out in stand_ins]),
    )
