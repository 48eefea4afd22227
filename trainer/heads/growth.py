"""Estimate what more images would bring: fit heads on a quarter and on all of the images, and count the mistakes.

Mistakes fall about as a power of the number of images (Hestness et al. 2017, "Deep Learning Scaling is Predictable,
Empirically"). A class has too few mistakes to estimate its own power well, so it is drawn to that of all classes
together. Measured on scenes and on small photographs of ten things, with 50, 100 and 180 images a class and then twice
as many: mistakes on fold 4 fell from 165 to 153 in the mean, and 146 were predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.heads.logistic import fit_logistic
from trainer.heads.task import FittingTask, Mask
from trainer.measuring.calibration import Labels, Logits

Mistakes = npt.NDArray[np.float32]

#: Heads are fitted on this many different quarters, but on one only if its heads make this many mistakes.
_QUARTERS, _MANY_MISTAKES = 2, 400
_STRENGTH = 3e-3
#: With fewer judged images, or fewer mistakes by the heads fitted on a quarter, there is no estimate.
_MIN_IMAGES, _MIN_MISTAKES = 100, 20
#: With more images there is no estimate: a copy of a quarter of gigabytes would take too much memory.
_MAX_IMAGES = 50_000
#: A class's own mistakes weigh as much as those of all classes once there are this many. Measured as above, 30 was the
#: best of 0 to 1e6.
_PRIOR = 30.0
#: Resamples of the judged images, and the quantiles between which the result lies four times in five.
_RESAMPLES, _RANGE = 200, (0.1, 0.9)


@dataclass(frozen=True)
class Growth:
    """How often each judged image was mistaken (2, judged): by heads fitted on a quarter, and on all of the images."""

    mistakes: Mistakes


@dataclass(frozen=True)
class Outlook:
    """A class (its position), its mistakes, and how many of them would be avoided with twice as many images.

    ``avoided`` is an estimate, which likely lies between ``low`` and ``high``.
    """

    label: int
    mistakes: float
    avoided: float
    low: float
    high: float


def measure_growth(task: FittingTask, strength: float = _STRENGTH, out_of_fold: Logits | None = None) -> Growth | None:
    """Fit heads on a quarter and on all of the images; None with too few images for an estimate, or too many.

    ``out_of_fold``: logits of heads fitted on all images with this strength, if they are known already.
    """
    if task.judged.sum() < _MIN_IMAGES or len(task.labels) > _MAX_IMAGES:
        return None
    ranks = _ranks(task.labels)
    with_quarter: list[Mask] = []
    for quarter in range(_QUARTERS):
        logits = _fitted_on(replace(task, serves=False), ranks % 4 == quarter, strength)
        if logits is None:
            return None
        with_quarter.append(_mistakes(task, logits))
        if with_quarter[0].sum() >= _MANY_MISTAKES:
            break
    if np.mean(with_quarter, axis=0).sum() < _MIN_MISTAKES:
        return None
    if out_of_fold is None:
        out_of_fold = _fitted_on(task, ranks >= 0, strength)
        assert out_of_fold is not None  # every fold that judges has images
    with_all = _mistakes(task, out_of_fold)
    return Growth(np.stack([np.mean(with_quarter, axis=0), with_all]).astype(np.float32))


def _ranks(labels: Labels) -> Labels:
    """Return each image's rank (n,) in a random order of its class."""
    ranks = np.empty_like(labels)
    random = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranks[random.permutation(rows)] = np.arange(len(rows))
    return ranks


def _fitted_on(task: FittingTask, used: Mask, strength: float) -> Logits | None:
    """Return logits (judged images, classes) of heads fitted on the ``used`` images; None where a fold has none."""
    part = task
    if not used.all():
        part = replace(task, inputs=task.inputs.rows(used), labels=task.labels[used], folds=task.folds[used])
    if part.judging_folds != task.judging_folds:
        return None
    (heads,) = fit_logistic(part, [strength], full=False)
    return task.out_of_fold(heads)


def _mistakes(task: FittingTask, out_of_fold: Logits) -> Mask:
    """Tell which judged images (n,) are mistaken by logits (n, classes)."""
    wrong: Mask = out_of_fold.argmax(axis=1) != task.labels[task.judged]
    return wrong


def accuracies(growth: Growth) -> list[float]:
    """Return the out-of-fold accuracies with a quarter and with all of the images."""
    return [float(share) for share in 1 - growth.mistakes.mean(axis=1)]


def accuracy_with_doubled_images(growth: Growth) -> float:
    """Estimate the accuracy with twice as many images."""
    return 1 - float(growth.mistakes[-1].mean()) * float(np.sqrt(_overall_ratio(growth)))


def class_outlooks(growth: Growth, labels: Labels) -> list[Outlook]:
    """List the classes that more images likely help, the one with the most mistakes avoided first.

    ``labels`` (judged,) are the true classes.
    """
    with_quarter, with_all = growth.mistakes
    overall_ratio = _overall_ratio(growth)
    random = np.random.default_rng(0)
    outlooks = []
    for label in np.unique(labels).tolist():
        rows = labels == label
        mistakes = float(with_all[rows].sum())
        resamples = random.poisson(1.0, (_RESAMPLES, int(rows.sum())))
        remaining = _remaining_share(resamples @ with_quarter[rows], resamples @ with_all[rows], overall_ratio)
        low, high = np.quantile(mistakes * (1 - remaining), _RANGE)
        share = float(_remaining_share(with_quarter[rows].sum(), with_all[rows].sum(), overall_ratio))
        outlooks.append(Outlook(label, mistakes, mistakes * (1 - share), float(low), float(high)))
    return sorted((outlook for outlook in outlooks if outlook.low >= 0.5), key=lambda outlook: -outlook.avoided)


def _overall_ratio(growth: Growth) -> float:
    """Return what share of the mistakes with a quarter of the images is left with all of them, over all classes."""
    with_quarter, with_all = growth.mistakes
    return min(float(with_all.sum() / with_quarter.sum()), 1.0)


def _remaining_share(
    with_quarter: npt.ArrayLike, with_all: npt.ArrayLike, overall_ratio: float
) -> npt.NDArray[np.float64]:
    """Estimate the share of mistakes left with twice the images, from those with a quarter and with all of them."""
    ratio = (np.asarray(with_all, np.float64) + _PRIOR * overall_ratio) / (
        np.asarray(with_quarter, np.float64) + _PRIOR
    )
    return np.sqrt(np.minimum(ratio, 1.0))
