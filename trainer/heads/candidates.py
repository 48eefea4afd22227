"""Candidates: each kind of head, fitted for all folds of a set of features, and what it made of the judged images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.checkpoint import Pretrained
from models.text.language import mark, tr
from trainer.heads.discriminant import fit_discriminant
from trainer.heads.gradient import fit_gradient
from trainer.heads.linear import GradientOptions, Linear, OnEpoch, Scaling
from trainer.heads.logistic import fit_logistic
from trainer.heads.task import FittingTask
from trainer.measuring.calibration import Logits, Losses, accuracy, fit_temperature, losses

#: The strengths of logistic regression that are tried (scikit-learn's C), from strongly regularised to hardly.
GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
#: How far the covariance of discriminant analysis is shrunk.
SHRINKAGES = (0.3, 0.6, 0.9)


@dataclass(frozen=True)
class CandidateHead:
    """A kind of head on some of the parts (positions), and what it made of the judged images out of fold.

    ``heads`` are one for each fold, and that of all images, which is the last. ``out_of_fold`` are logits (judged
    images, classes), ``losses`` (judged images,) those of them after division by ``temperature``. ``refolded`` is the
    mean log-loss over several ways to fold the images, where the candidate was compared by that. ``label`` is the name
    as people read it, in their language.
    """

    name: str
    label: str
    parts: tuple[int, ...]
    heads: list[Linear]
    out_of_fold: Logits
    temperature: float
    losses: Losses
    accuracy: float
    refolded: float | None = None

    @property
    def loss(self) -> float:
        """The mean out-of-fold log-loss."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class View:
    """Some of the parts (positions) under a name, which is empty where there is only one part, and their features.

    ``scaling`` made them what they are in ``task``. ``texts`` is the head that the classes' names make, where a part
    reads text. ``pretrained`` gave the inputs, where they are not the features themselves. ``label`` is what people
    read for the name, where that is something else.
    """

    name: str
    parts: tuple[int, ...]
    task: FittingTask
    scaling: Scaling
    texts: Linear | None = None
    pretrained: Pretrained | None = None
    label: str = ""

    def candidate(self, kind: str, heads: list[Linear], **values: object) -> CandidateHead:
        """Judge heads of this view; ``kind`` is a marked template of the ``values``."""
        labels = self.task.labels[self.task.judged]
        logits = self.task.out_of_fold(heads)
        temperature = fit_temperature(logits, labels)
        return CandidateHead(
            name=_under(self.name, kind.format(**values)),
            label=_under(self.label or self.name, tr(kind, **values)),
            parts=self.parts,
            heads=heads,
            out_of_fold=logits,
            temperature=temperature,
            losses=losses(logits, labels, temperature),
            accuracy=accuracy(logits, labels),
        )

    def from_texts(self) -> View:
        """The same, but heads begin from the texts."""
        return replace(self, task=replace(self.task, start=self.texts))


def _under(view: str, kind: str) -> str:
    return f"{view}: {kind}" if view else kind


def logistic(view: View, grid: Sequence[float] = GRID) -> CandidateHead:
    """The best of the grid; it is left when two weaker penalties in a row did worse than the best."""
    begun = view.task.start is not None
    kind = mark("logistic from texts, C {strength:g}") if begun else mark("logistic, C {strength:g}")
    tried: list[CandidateHead] = []
    for strength, heads in zip(grid, fit_logistic(view.task, grid), strict=True):
        tried.append(view.candidate(kind, heads, strength=strength))
        if len(tried) - 1 - int(np.argmin([each.loss for each in tried])) >= 2:
            break
    return min(tried, key=lambda candidate: candidate.loss)


def gradient(view: View, options: GradientOptions, on_epoch: OnEpoch | None) -> CandidateHead:
    """The gradient head of the best epoch."""
    heads, epochs = fit_gradient(view.task, options, on_epoch)
    begun = view.task.start is not None
    kind = mark("gradient from texts, {epochs} epochs") if begun else mark("gradient, {epochs} epochs")
    return view.candidate(kind, heads, epochs=epochs)


def discriminant(view: View) -> CandidateHead:
    """Discriminant analysis with the best shrinkage."""
    fitted = fit_discriminant(view.task, SHRINKAGES)
    kind = mark("discriminant, shrunk {share:g}")
    tried = [view.candidate(kind, heads, share=share) for share, heads in zip(SHRINKAGES, fitted, strict=True)]
    return min(tried, key=lambda candidate: candidate.loss)


def mean(view: View, kind: str, of: Sequence[CandidateHead]) -> CandidateHead:
    """The head whose logits are the mean of two candidates', each divided by its temperature."""
    one, other = ([head.over(each.temperature) for head in each.heads] for each in of)
    return view.candidate(kind, [a.mean(b) for a, b in zip(one, other, strict=True)])
