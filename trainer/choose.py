"""The choice of a head: candidates are fitted on the training side and compared on the held-out images.

They are compared by log-loss after each has had its temperature fitted, since that is what will be served. The winner
is then fitted again on all images: measured over five folds of two sets, that is worth 0.3 points of accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.cache import Features
from trainer.calibrate import Labels, Logits, Losses, accuracy, fit_temperature, losses
from trainer.data import Mask
from trainer.heads import GradientOptions, Linear, OnEpoch, Scaling, fit_gradient, fit_logistic

#: The strengths of logistic regression that are tried (scikit-learn's C), from strongly regularised to hardly.
GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
#: The one that is used when nothing is held out to choose by.
_UNTRIED = 1e-2

Refit = Callable[[Features, Labels], Linear]


@dataclass(frozen=True)
class Candidate:
    """A head fitted on the training side, how it did on the held-out images, and how to fit it on more."""

    name: str
    head: Linear
    refit: Refit
    temperature: float
    losses: Losses
    accuracy: float

    @property
    def loss(self) -> float:
        """The mean held-out log-loss."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class Choice:
    """The chosen head, fitted on all images, and on the training side alone.

    ``held_out`` are the logits (held-out images, classes) of ``trained``, which never saw these images.
    """

    head: Linear
    scaling: Scaling
    temperature: float
    winner: str
    reason: str
    candidates: list[Candidate]
    trained: Linear
    trained_scaling: Scaling
    held_out: Logits


def choose(
    features: Features,
    labels: Labels,
    held: Mask,
    classes: int,
    widths: Sequence[int],
    options: GradientOptions,
    on_epoch: OnEpoch | None = None,
) -> Choice:
    """Fit, compare, and fit the winner on everything. ``features`` (n, width) are normalised, ``held`` (n,)."""
    everything = Scaling.of(features, widths)
    if not held.any():
        head = fit_logistic(everything.apply(features), labels, classes, _UNTRIED)
        nothing = np.empty((0, classes))
        reason = "no image is held out to choose by"
        return Choice(head, everything, 1.0, f"logistic, C {_UNTRIED:g}", reason, [], head, everything, nothing)
    scaling = Scaling.of(features[~held], widths)
    train = scaling.apply(features[~held]), labels[~held]
    check = scaling.apply(features[held]), labels[held]
    gradient = _gradient(train, check, classes, options, on_epoch)
    logistic = _logistic(train, check, classes)
    candidates = [gradient, logistic, _both(gradient, logistic, check)]
    winner, reason = _winner(candidates)
    return Choice(
        head=winner.refit(everything.apply(features), labels),
        scaling=everything,
        temperature=winner.temperature,
        winner=winner.name,
        reason=reason,
        candidates=candidates,
        trained=winner.head,
        trained_scaling=scaling,
        held_out=winner.head.logits(check[0]),
    )


_Part = tuple[Features, Labels]


def clearly_lower(losses: Losses, than: Losses) -> bool:
    """Whether losses (n,) are lower than others on the same images by more than one standard error."""
    gain = than - losses
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def _winner(candidates: list[Candidate]) -> tuple[Candidate, str]:
    """The mean of both, unless a single head is clearly better.

    Which of three near equals is ahead on a few hundred images is chance, and the mean varies least.
    """
    *singles, mean = candidates
    best = min(singles, key=lambda candidate: candidate.loss)
    if clearly_lower(best.losses, mean.losses):
        return best, "its held-out log-loss is lower by more than chance"
    return mean, "no single head's held-out log-loss is lower by more than chance"


def _judged(name: str, head: Linear, refit: Refit, check: _Part) -> Candidate:
    logits = head.logits(check[0])
    temperature = fit_temperature(logits, check[1])
    return Candidate(name, head, refit, temperature, losses(logits, check[1], temperature), accuracy(logits, check[1]))


def _gradient(
    train: _Part, check: _Part, classes: int, options: GradientOptions, on_epoch: OnEpoch | None
) -> Candidate:
    head, epochs = fit_gradient(*train, classes, options, held_out=check, on_epoch=on_epoch)

    def refit(features: Features, labels: Labels) -> Linear:
        return fit_gradient(features, labels, classes, options, stop_after=epochs)[0]

    return _judged(f"gradient, {epochs} epochs", head, refit, check)


def _logistic(train: _Part, check: _Part, classes: int) -> Candidate:
    """The best of the grid; it is left when two stronger ones in a row did worse than the best."""
    tried: list[Candidate] = []
    for strength in GRID:

        def refit(features: Features, labels: Labels, strength: float = strength) -> Linear:
            return fit_logistic(features, labels, classes, strength)

        tried.append(_judged(f"logistic, C {strength:g}", refit(*train), refit, check))
        losses = [candidate.loss for candidate in tried]
        if len(losses) - 1 - int(np.argmin(losses)) >= 2:
            break
    return min(tried, key=lambda candidate: candidate.loss)


def _both(gradient: Candidate, logistic: Candidate, check: _Part) -> Candidate:
    def mean(one: Linear, other: Linear) -> Linear:
        return one.over(gradient.temperature).mean(other.over(logistic.temperature))

    def refit(features: Features, labels: Labels) -> Linear:
        return mean(gradient.refit(features, labels), logistic.refit(features, labels))

    return _judged("the mean of both", mean(gradient.head, logistic.head), refit, check)
