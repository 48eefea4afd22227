"""What more images would bring: heads are fitted on a quarter and on all of the images, and mistakes counted.

Mistakes fall about as a power of the number of images (Hestness et al. 2017, "Deep Learning Scaling is Predictable,
Empirically"). A class has too few mistakes to tell its own power well, so it is drawn to that of all classes together.
Measured on scenes and on small photographs of ten things, with 50, 100 and 180 images a class and then twice as many:
mistakes on fold 4 fell from 168 to 152 in the mean, and 150 were foretold. It takes 1.3 s for 2,400 images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.heads.logistic import fit_logistic
from trainer.heads.task import FittingTask, Mask
from trainer.measuring.calibration import Labels

Mistakes = npt.NDArray[np.float32]

#: On how many quarters, each for itself, heads are fitted.
_QUARTERS = 2
_STRENGTH = 3e-3
#: With fewer judged images, or fewer mistakes of the heads that were fitted on a quarter, nothing can be told.
_LEAST_IMAGES, _LEAST_MISTAKES = 100, 20
#: With more images it is not asked: a quarter of gigabytes would be in memory once more.
_MOST_IMAGES = 50_000
#: A class's own mistakes count as much as those of all classes once it has so many. Measured as above, 30 was the best
#: of 0 to 1e6.
_PRIOR = 30.0
#: Resamples of the judged images, and the quantiles that are given as the range: four times in five it lies within.
_RESAMPLES, _RANGE = 200, (0.1, 0.9)


@dataclass(frozen=True)
class Growth:
    """How often each judged image was taken for another class (2, judged), by heads of a quarter and of all."""

    mistakes: Mistakes


@dataclass(frozen=True)
class Outlook:
    """A class (its position), its mistakes, and how many fewer they would be with twice the images of every class.

    The latter is a guess with the range it likely lies in.
    """

    label: int
    mistakes: float
    fewer: float
    least: float
    most: float


def grow(task: FittingTask) -> Growth | None:
    """Fit heads on parts of the images; None with too few to tell anything, or too many."""
    if task.judged.sum() < _LEAST_IMAGES or len(task.labels) > _MOST_IMAGES:
        return None
    ranks = _ranks(task.labels)
    found = [_mistakes(task, ranks % 4 == quarter) for quarter in range(_QUARTERS)]
    few = [each for each in found if each is not None]
    every = _mistakes(task, ranks >= 0)
    if len(few) < _QUARTERS or every is None or np.mean(few, axis=0).sum() < _LEAST_MISTAKES:
        return None
    return Growth(np.stack([np.mean(few, axis=0), every]).astype(np.float32))


def _ranks(labels: Labels) -> Labels:
    """Each image's place (n,) in a random order of its class."""
    ranks = np.empty_like(labels)
    random = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranks[random.permutation(rows)] = np.arange(len(rows))
    return ranks


def _mistakes(task: FittingTask, among: Mask) -> Mask | None:
    """Which judged images are mistaken by heads that were fitted on some; None where these are not in every fold."""
    part = task
    if not among.all():
        part = replace(task, scaled=task.scaled[among], labels=task.labels[among], folds=task.folds[among])
    if part.judges != task.judges:
        return None
    (heads,) = fit_logistic(part, [_STRENGTH])
    wrong: Mask = task.out_of_fold(heads).argmax(axis=1) != task.labels[task.judged]
    return wrong


def shares(growth: Growth) -> list[float]:
    """The shares of judged images that were right with a quarter and with all of the images."""
    return [float(share) for share in 1 - growth.mistakes.mean(axis=1)]


def doubled(growth: Growth) -> float:
    """The share of judged images that would be right with twice as many images."""
    return 1 - float(growth.mistakes[-1].mean()) * float(np.sqrt(_usual(growth)))


def outlooks(growth: Growth, labels: Labels) -> list[Outlook]:
    """Of the classes whose mistakes likely become fewer, those first that would be spared most.

    ``labels`` (judged,) are the true classes.
    """
    few, every = growth.mistakes
    usual = _usual(growth)
    random = np.random.default_rng(0)
    found = []
    for label in np.unique(labels).tolist():
        rows = labels == label
        wrong = float(every[rows].sum())
        drawn = random.poisson(1.0, (_RESAMPLES, int(rows.sum())))
        gone = wrong * (1 - _kept(drawn @ few[rows], drawn @ every[rows], usual))
        least, most = np.quantile(gone, _RANGE)
        fewer = wrong * (1 - float(_kept(few[rows].sum(), every[rows].sum(), usual)))
        found.append(Outlook(label, wrong, fewer, float(least), float(most)))
    return sorted((each for each in found if each.least >= 0.5), key=lambda each: -each.fewer)


def _usual(growth: Growth) -> float:
    """Which share of the mistakes with a quarter of the images is left with all of them, over all classes."""
    few, every = growth.mistakes
    return min(float(every.sum() / few.sum()), 1.0)


def _kept(few: npt.ArrayLike, every: npt.ArrayLike, usual: float) -> npt.NDArray[np.float64]:
    """Which share of mistakes stays with twice the images, from those with a quarter and with all of them."""
    ratio = (np.asarray(every, np.float64) + _PRIOR * usual) / (np.asarray(few, np.float64) + _PRIOR)
    return np.sqrt(np.minimum(ratio, 1.0))
