"""The choice of a head and of the features it sees: candidates are compared on images that they never saw.

Every image with a fold is judged by heads that were fitted on the other folds. Candidates are compared by the log-loss
of that, after each has had its temperature fitted, since that is what will be served. The winner was fitted on all
images too: measured over five folds of two sets, that is worth 0.3 points of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer import candidates
from trainer.cache import Features
from trainer.calibrate import Labels, Logits, Losses
from trainer.candidates import Candidate, View
from trainer.folds import Folds
from trainer.heads import GradientOptions, Linear, OnEpoch, Scaling
from trainer.logistic import fit_logistic
from trainer.prompts import Embeddings
from trainer.task import Mask, Task
from trainer.unknown import Span, learn

#: The strength of logistic regression where no image is judged.
_UNTRIED = 1e-2
#: What the cosine of an image and a text is multiplied by to make a logit, as CLIP learned it.
_TEXT_SCALE = 100.0


@dataclass(frozen=True)
class Part:
    """One backbone's share of the features: its name, how many there are, and the classes' texts among them, if any."""

    name: str
    width: int
    texts: Embeddings | None = None


@dataclass(frozen=True)
class Choice:
    """The chosen head, fitted on all images, for the features of ``parts`` (positions of those that were given).

    ``out_of_fold`` are the logits (judged images, classes) of the ``judged`` images (n,), each from a head that never
    saw it; ``trained`` is the head that never saw the first fold. ``span`` tells images that are like none of these,
    where there are enough.
    """

    head: Linear
    scaling: Scaling
    parts: tuple[int, ...]
    temperature: float
    winner: str
    reason: str
    candidates: list[Candidate]
    trained: Linear
    judged: Mask
    out_of_fold: Logits
    span: Span | None


def choose(
    features: Features,
    labels: Labels,
    folds: Folds,
    classes: int,
    parts: Sequence[Part],
    options: GradientOptions,
    *,
    drop: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Choice:
    """Fit heads on all parts and on each alone, compare them, and take one: on fewer than all parts only with ``drop``.

    ``features`` (n, width) are normalised; images whose fold is `NEVER` are fitted on by every head.
    """
    scaling = Scaling.of(features, [part.width for part in parts])
    whole = Task(scaling.apply(features), labels, classes, folds)
    if not whole.judges:
        return _unjudged(whole, scaling, tuple(range(len(parts))))
    views = _views(whole, scaling, parts)
    quick = {view.parts: _quick(view) for view in views}
    table = [candidate for each in quick.values() for candidate in each]
    finals = []
    for view in _finalists(views, quick, drop):
        best, tried = _best_head(view, quick[view.parts], options, on_epoch)
        finals.append(best)
        table += tried
    winner, reason = _winner(finals, views, quick)
    columns = _columns(parts, winner.parts)
    return Choice(
        head=winner.heads[-1],
        scaling=_of_columns(scaling, columns),
        parts=winner.parts,
        temperature=winner.temperature,
        winner=winner.name,
        reason=reason,
        candidates=sorted(table, key=lambda candidate: (len(candidate.parts), candidate.parts)),
        trained=winner.heads[0],
        judged=whole.judged,
        out_of_fold=winner.out_of_fold,
        span=learn(whole.scaled[:, columns], folds),
    )


def _unjudged(whole: Task, scaling: Scaling, parts: tuple[int, ...]) -> Choice:
    (heads,) = fit_logistic(whole, [_UNTRIED])
    return Choice(
        head=heads[-1],
        scaling=scaling,
        parts=parts,
        temperature=1.0,
        winner=f"logistic, C {_UNTRIED:g}",
        reason="no image is held out to choose by",
        candidates=[],
        trained=heads[0],
        judged=whole.judged,
        out_of_fold=np.empty((0, whole.classes)),
        span=None,
    )


def _columns(parts: Sequence[Part], chosen: Sequence[int]) -> slice:
    """The columns of one part, or of all."""
    ends = np.cumsum([0, *(part.width for part in parts)])
    return slice(int(ends[chosen[0]]), int(ends[chosen[-1] + 1]))


def _of_columns(scaling: Scaling, columns: slice) -> Scaling:
    return Scaling(scaling.mean[columns], scaling.scale[columns])


def _views(whole: Task, scaling: Scaling, parts: Sequence[Part]) -> list[View]:
    """Each part alone and, last, all of them."""
    every = tuple(range(len(parts)))
    names = {(at,): part.name for at, part in enumerate(parts)} | {every: "all parts" if len(parts) > 1 else ""}
    views = []
    for chosen, name in names.items():
        columns = _columns(parts, chosen)
        task = replace(whole, scaled=whole.scaled[:, columns])
        views.append(View(name, chosen, task, _text_head([parts[at] for at in chosen], _of_columns(scaling, columns))))
    return views


def _text_head(parts: Sequence[Part], scaling: Scaling) -> Linear | None:
    """The head whose logits are a hundred times the cosines of images and texts, summed over parts that read text."""
    read = [part.texts for part in parts if part.texts is not None]
    if not read:
        return None
    classes = len(read[0])
    rows = [np.zeros((classes, part.width), np.float32) if part.texts is None else part.texts for part in parts]
    weight = np.concatenate(rows, axis=1) * np.float32(_TEXT_SCALE / len(read))
    return Linear(weight / scaling.scale, np.asarray(weight @ scaling.mean, np.float32))


def _quick(view: View) -> list[Candidate]:
    """The logistic heads of a view, without and with the texts."""
    found = [candidates.logistic(view)]
    if view.texts is not None:
        found.append(candidates.logistic(view.from_texts()))
    return found


def _lowest(found: Sequence[Candidate]) -> Candidate:
    return min(found, key=lambda candidate: candidate.loss)


def _finalists(views: Sequence[View], quick: dict[tuple[int, ...], list[Candidate]], drop: bool) -> list[View]:
    """The views on which other heads are worth their time: all parts, and the best part alone if it may be served."""
    *alone, every = views
    if not alone or not drop:
        return [every]
    return [min(alone, key=lambda view: _lowest(quick[view.parts]).loss), every]


def _best_head(
    view: View, quick: list[Candidate], options: GradientOptions, on_epoch: OnEpoch | None
) -> tuple[Candidate, list[Candidate]]:
    """The head that is taken on a view, and all that were tried beside ``quick``.

    It is the mean of gradient and logistic, unless a single head is clearly better: which of near equals is ahead is
    chance, and the mean varies least.
    """
    logistic = _lowest(quick)
    if view.texts is not None and logistic is quick[1]:
        view = view.from_texts()
    gradient = candidates.gradient(view, options, on_epoch)
    mean = candidates.mean(view, "the mean of gradient and logistic", [gradient, logistic])
    tried = [candidates.discriminant(view), gradient, mean]
    best = _lowest([*quick, *tried])
    return (best if clearly_lower(best.losses, mean.losses) else mean), tried


def _winner(
    finals: Sequence[Candidate], views: Sequence[View], quick: dict[tuple[int, ...], list[Candidate]]
) -> tuple[Candidate, str]:
    """All parts, unless one alone may be served and is not clearly worse; and why, in one sentence."""
    every = finals[-1]
    why = "no other head's log-loss is lower by more than chance"
    if "mean" not in every.name:
        why = "its log-loss is lower than that of the mean of heads by more than chance"
    if len(views) == 1:
        return every, why
    if len(finals) > 1:
        alone = finals[0]
        if clearly_lower(every.losses, alone.losses):
            return every, f"all parts together have a clearly lower log-loss than the best part alone ({alone.name})"
        return alone, "all parts together are not better than this part alone by more than chance"
    alone = min((_lowest(quick[view.parts]) for view in views[:-1]), key=lambda candidate: candidate.loss)
    if clearly_lower(_lowest(quick[every.parts]).losses, alone.losses):
        return every, f"{why}, and all parts together are better than any alone"
    return every, f"{why}; {alone.name} alone would do as well: --drop-parts lets a fit leave the others out"


def clearly_lower(losses: Losses, than: Losses) -> bool:
    """Whether losses (n,) are lower than others on the same images by more than one standard error."""
    gain = than - losses
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
