"""Candidates: heads of each kind, fitted for all folds of a view, with their predictions for the judged images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.checkpoints.checkpoint import Pretrained
from models.text.language import mark, tr
from trainer.heads.discriminant import fit_discriminant
from trainer.heads.gradient import fit_gradient
from trainer.heads.linear import GradientOptions, Linear, OnEpoch, Scaling
from trainer.heads.logistic import EXACT, ROUGH, fit_logistic
from trainer.heads.task import FittingTask
from trainer.measuring.calibration import Logits, Losses, accuracy, fit_temperature, losses

#: The strengths of logistic regression to try (scikit-learn's C), from strong to weak regularisation.
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
#: This many judged images are enough to choose a strength by.
_MANY_IMAGES = 1000
#: The strength that is best in most cases. A weaker penalty than this must lower the loss by at least this share: a
#: smaller gain is chance, by which the weakest would win with few images. Between a stronger penalty and this one the
#: weaker wins even if its loss is higher by up to that share; but not with many images, where the strongest is best if
#: labels are wrong.
USUAL_STRENGTH, _LEAST_GAIN = 3e-3, 0.01
#: The shrinkages of the covariance to try in discriminant analysis, and the one that is the best with many images.
SHRINKAGES, _USUAL_SHRINKAGE = (0.3, 0.6, 0.9), 0.6

#: The name of the head whose logits are the mean of those of a gradient and a logistic head.
MEAN = mark("the mean of gradient and logistic")
#: The kinds of heads that are fitted; ``mean`` is that of gradient and logistic.
Kind = Literal["logistic", "gradient", "mean", "discriminant"]


@dataclass(frozen=True)
class CandidateHead:
    """A kind of head on some of the parts (positions), with its out-of-fold predictions for the judged images.

    ``heads`` holds one head for each fold and, last, the head fitted on all images. ``out_of_fold`` holds logits
    (judged images, classes), ``losses`` (judged images,) their log-loss after division by ``temperature``.
    ``refolded_loss`` is the mean log-loss over several divisions into folds; None where one division was enough.
    ``label`` is the name in the user's language; ``strength`` is that of the penalty of a logistic head (scikit-learn's
    C), and the shrinkage of a discriminant.
    """

    name: str
    label: str
    parts: tuple[int, ...]
    heads: list[Linear]
    out_of_fold: Logits
    temperature: float
    losses: Losses
    accuracy: float
    refolded_loss: float | None = None
    strength: float | None = None
    kind: Kind = "logistic"

    @property
    def loss(self) -> float:
        """The mean out-of-fold log-loss."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class View:
    """A set of inputs that heads are fitted on: the features of some parts (positions), or what they were turned into.

    ``name`` is empty where there is only one part; ``label`` is the name in the user's language, where that differs.
    ``scaling`` is what the inputs in ``task`` were scaled by. ``texts`` is the head made of the classes' names, where a
    part reads text. ``pretrained`` is the classifier that computed the inputs, where they are not the features.
    """

    name: str
    parts: tuple[int, ...]
    task: FittingTask
    scaling: Scaling
    texts: Linear | None = None
    pretrained: Pretrained | None = None
    label: str = ""

    def candidate_from(self, kind: str, heads: list[Linear], **values: object) -> CandidateHead:
        """Make a candidate of fitted heads; ``kind`` is a marked template for its name, filled with ``values``."""
        labels = self.task.labels[self.task.judged]
        logits = self.task.out_of_fold(heads)
        temperature = fit_temperature(logits, labels)
        return CandidateHead(
            name=_prefixed(self.name, kind.format(**values)),
            label=_prefixed(self.label or self.name, tr(kind, **values)),
            parts=self.parts,
            heads=heads,
            out_of_fold=logits,
            temperature=temperature,
            losses=losses(logits, labels, temperature),
            accuracy=accuracy(logits, labels),
        )

    def starting_from_texts(self) -> View:
        """Return this view with heads that start from the texts."""
        return replace(self, task=replace(self.task, start=self.texts))


def _prefixed(view: str, kind: str) -> str:
    return f"{view}: {kind}" if view else kind


def logistic_candidate(view: View, strengths: Sequence[float] = STRENGTHS, *, full: bool = True) -> CandidateHead:
    """Return the logistic head of the best strength; for ``full`` see `fit_logistic`.

    With many judged images, an exact fit is no better than a rough one. With few, a rough fit may stop the heads of the
    folds and the one of all images so far apart that the temperature of the former does not suit the latter.
    """
    from_texts = view.task.start is not None
    kind = mark("logistic from texts, C {strength:g}") if from_texts else mark("logistic, C {strength:g}")
    best = strengths[0] if len(strengths) == 1 else _best_strength(view, strengths)
    many = _many(view.task)
    # A weak penalty leaves the loss of few images so flat that where the fit ends depends on where it starts: it starts
    # as it did in the comparison, or its heads would not be those that were compared.
    path = [best] if many or best <= USUAL_STRENGTH else [strength for strength in strengths if strength <= best]
    *_, heads = fit_logistic(view.task, path, tolerance=ROUGH if many else EXACT, full=full)
    return replace(view.candidate_from(kind, heads, strength=best), strength=best)


def _best_strength(view: View, strengths: Sequence[float]) -> float:
    """Return the strength of the lowest loss on some of the folds; weaker than usual only if its loss is clearly lower.

    Weaker penalties take longer to fit: no more are tried once two in a row were no better, or with many images one.
    With many images, heads that are fitted along the main directions alone choose the same strength in half of the
    time; with few, they may choose one that is far too weak.
    """
    many = _many(view.task)
    failures_in_a_row = 1 if many else 2
    part = replace(view, task=view.task.judged_by(_MANY_IMAGES))
    best, best_loss = 0, np.inf
    for position, heads in enumerate(fit_logistic(part.task, strengths, full=not many)):
        loss = part.candidate_from("", heads).loss
        is_usual = strengths[position] <= USUAL_STRENGTH
        least_gain = (0.0 if many else -_LEAST_GAIN) if is_usual else _LEAST_GAIN
        if loss < (1 - least_gain) * best_loss:
            best, best_loss = position, loss
        elif position - best >= failures_in_a_row:
            break
    return strengths[best]


def _many(task: FittingTask) -> bool:
    return int(task.judged.sum()) >= _MANY_IMAGES


def gradient_candidate(view: View, options: GradientOptions, on_epoch: OnEpoch | None) -> CandidateHead:
    """Return the gradient head of the best epoch."""
    heads, epochs = fit_gradient(view.task, options, on_epoch)
    from_texts = view.task.start is not None
    if epochs == 1:
        kind = mark("gradient from texts, {epochs} epoch") if from_texts else mark("gradient, {epochs} epoch")
    else:
        kind = mark("gradient from texts, {epochs} epochs") if from_texts else mark("gradient, {epochs} epochs")
    return replace(view.candidate_from(kind, heads, epochs=epochs), kind="gradient")


def discriminant_candidate(view: View, shrinkages: Sequence[float] = (), *, full: bool = True) -> CandidateHead:
    """Return the head of discriminant analysis with the best of these shrinkages; if none are given, of the usual ones.

    Unless it is ``full``, the covariance is that along the main directions, which takes a tenth of the time.
    """
    shrinkages = shrinkages or ([_USUAL_SHRINKAGE] if _many(view.task) else SHRINKAGES)
    task = replace(view.task, inputs=view.task.inputs.in_all_directions()) if full else view.task
    heads_by_shrinkage = fit_discriminant(task, shrinkages)
    kind = mark("discriminant, shrunk {share:g}")
    candidates = [
        replace(view.candidate_from(kind, heads, share=share), strength=share, kind="discriminant")
        for share, heads in zip(shrinkages, heads_by_shrinkage, strict=True)
    ]
    return min(candidates, key=lambda candidate: candidate.loss)


def mean_candidate(view: View, kind: str, one: CandidateHead, other: CandidateHead) -> CandidateHead:
    """Return the candidate whose logits are the mean of two others', each divided by its temperature."""
    heads = [
        first.divided_by(one.temperature).averaged_with(second.divided_by(other.temperature))
        for first, second in zip(one.heads, other.heads, strict=True)
    ]
    return replace(view.candidate_from(kind, heads), kind="mean")
