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
from trainer.heads import MIN_DELTA, GradientOptions, Linear, OnEpoch, Scaling
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
    quick = [_quick(view) for view in views]
    at, why_parts = _parts(quick, drop)
    others, winner, why = _head(views[at], quick[at], options, on_epoch)
    columns = _columns(parts, winner.parts)
    table = [*(candidate for each in quick for candidate in each), *others]
    return Choice(
        head=winner.heads[-1],
        scaling=_of_columns(scaling, columns),
        parts=winner.parts,
        temperature=winner.temperature,
        winner=winner.name,
        reason=why + why_parts,
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


def _parts(quick: Sequence[Sequence[Candidate]], drop: bool) -> tuple[int, str]:
    """Which view is taken, and why: all parts, or the best alone where that may be and all are not clearly better.

    Logistic heads are compared, which take the least time; other heads are then fitted on this view only.
    """
    *singles, every = (_lowest(each) for each in quick)
    if not singles:
        return 0, ""
    best = int(np.argmin([candidate.loss for candidate in singles]))
    if clearly_lower(every.losses, singles[best].losses):
        return len(singles), "; all parts together are clearly better than the best alone"
    if drop:
        return best, "; all parts together are not better than this one alone by more than chance"
    alone = singles[best].name.partition(":")[0]
    return len(singles), f"; {alone} alone would do as well: --drop-parts lets a fit leave the others out"


def _head(
    view: View, quick: Sequence[Candidate], options: GradientOptions, on_epoch: OnEpoch | None
) -> tuple[list[Candidate], Candidate, str]:
    """The heads that are tried on a view beside ``quick``, the one that is taken, and why.

    It is the mean of gradient and logistic: which of near equals is ahead is chance, and the mean varies least. Of two
    sets with all images and with 16 a class, over five folds and three seeds, it was the best or next to it in accuracy
    and log-loss. A single head has to have more images right as well as a clearly lower loss: where few images are all
    right, the head that is too sure has the lowest.
    """
    logistic = _lowest(quick)
    if view.texts is not None and logistic is quick[1]:
        view = view.from_texts()
    gradient = candidates.gradient(view, options, on_epoch)
    mean = candidates.mean(view, "the mean of gradient and logistic", [gradient, logistic])
    others = [candidates.discriminant(view), gradient, mean]
    best = _lowest([*quick, *others])
    if best.accuracy > mean.accuracy and clearly_lower(best.losses, mean.losses):
        return others, best, "it is better than the mean of heads by more than chance"
    return others, mean, "no single head is better by more than chance"


def clearly_lower(losses: Losses, than: Losses) -> bool:
    """Whether losses (n,) are lower than others on the same images by more than one standard error, and `MIN_DELTA`.

    Where all is right a loss of nearly nothing is easily lower still, and nobody would notice.
    """
    gain = than - losses
    return bool(gain.mean() > max(gain.std() / np.sqrt(len(gain)), MIN_DELTA))
