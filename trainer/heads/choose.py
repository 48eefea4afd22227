"""The choice of a head and of the features it sees: candidates are compared on images that they never saw.

Every image with a fold is judged by heads that were fitted on the other folds. Candidates are compared by the log-loss
of that, after each has had its temperature fitted, since that is what will be served. The winner was fitted on all
images too: measured over five folds of two sets, that is worth 0.3 points of accuracy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.checkpoint import Pretrained
from models.text.language import mark, tr
from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads import candidates, views
from trainer.heads.candidates import CandidateHead, View
from trainer.heads.growth import Growth, grow
from trainer.heads.linear import MIN_DELTA, GradientOptions, Linear, OnEpoch, Scaling
from trainer.heads.logistic import fit_logistic
from trainer.heads.task import Mask
from trainer.heads.unknown import Span, learn
from trainer.heads.views import Part
from trainer.measuring.calibration import Labels, Logits, Losses

#: The strength of logistic regression where no image is judged.
_UNTRIED = 1e-2
#: The strength at which the classes a backbone was pretrained with are tried first; with all images it was mostly best.
_FIRST = 3e-3
#: With fewer judged images, whether those classes are better is asked of several ways to fold the images.
FEW = 100
#: By how many standard errors they have to be better then.
_FEW_ERRORS = 1.25


@dataclass(frozen=True)
class Start:
    """Where fine-tuning begins: a head on features at unit length, its temperature in it, that never saw fold 0."""

    head: Linear
    scaling: Scaling

    @classmethod
    def of(cls, view: View, found: CandidateHead) -> Start:
        """That of a candidate which was fitted on this view."""
        return cls(found.heads[0].over(found.temperature), view.scaling)


@dataclass(frozen=True)
class Choice:
    """The chosen head, fitted on all images, for the features of ``parts`` (positions of those that were given).

    ``out_of_fold`` are the logits (judged images, classes) of the ``judged`` images (n,), each from a head that never
    saw it. Its inputs are features at unit length, or made by ``pretrained``. ``span`` tells images that are like none
    of these, where there are enough, and ``growth`` what more images would bring. ``label`` is what people read for
    the name of the ``winner``; the ``reason`` is in their language as well.
    """

    head: Linear
    scaling: Scaling
    parts: tuple[int, ...]
    temperature: float
    winner: str
    label: str
    reason: str
    candidates: list[CandidateHead]
    start: Start
    judged: Mask
    out_of_fold: Logits
    span: Span | None
    pretrained: Pretrained | None = None
    growth: Growth | None = None


def choose(
    features: Features,
    labels: Labels,
    folds: Folds,
    classes: int,
    parts: Sequence[Part],
    options: GradientOptions,
    *,
    drop: bool = False,
    redrawn: Sequence[Folds] = (),
    on_epoch: OnEpoch | None = None,
) -> Choice:
    """Fit heads on all parts and on each alone, compare them, and take one: on fewer than all parts only with ``drop``.

    ``features`` (n, width) are raw, and used up: they are scaled where they are, since there may be gigabytes. Images
    whose fold is `NEVER` are fitted on by every head. ``redrawn`` are other folds of the same images, which are asked
    as well where fewer than `FEW` are judged.
    """
    if (folds == NEVER).all():
        return _unjudged(views.whole(features, labels, classes, folds, parts))
    columns = np.split(features, np.cumsum([part.width for part in parts])[:-1], axis=1)
    inputs = deque(views.likenesses(raw, part) for raw, part in zip(columns, parts, strict=True))
    every = views.whole(features, labels, classes, folds, parts)
    # The part's features are popped, not read: nothing else holds them, so those of a view that loses are let go of.
    tried = [_Tried.of(_views_of(every, inputs.popleft(), parts, at), redrawn) for at in range(len(parts))]
    if len(parts) > 1:
        tried.append(_Tried.of([every]))
    at, why_parts = _parts([each.best for each in tried], drop)
    taken = tried[at]
    others, winner, why = _head(taken.view, taken.quick[taken.at], options, on_epoch)
    table = [candidate for each in tried for candidate in each.table] + others
    return Choice(
        head=winner.heads[-1],
        scaling=taken.view.scaling,
        parts=winner.parts,
        temperature=winner.temperature,
        winner=winner.name,
        label=winner.label,
        reason="; ".join(filter(None, [why, taken.why, why_parts])),
        candidates=sorted(table, key=lambda candidate: (len(candidate.parts), candidate.parts)),
        start=Start.of(taken.views[0], winner if taken.at == 0 else _lowest(taken.quick[0])),
        judged=every.task.judged,
        out_of_fold=winner.out_of_fold,
        span=learn(taken.view.task.scaled, folds),
        pretrained=taken.view.pretrained,
        growth=grow(taken.view.task),
    )


def _unjudged(every: View) -> Choice:
    (heads,) = fit_logistic(every.task, [_UNTRIED])
    return Choice(
        head=heads[-1],
        scaling=every.scaling,
        parts=every.parts,
        temperature=1.0,
        winner=f"logistic, C {_UNTRIED:g}",
        label=tr("logistic, C {strength:g}", strength=_UNTRIED),
        reason=tr("no image is held out to choose by"),
        candidates=[],
        start=Start(heads[0], every.scaling),
        judged=every.task.judged,
        out_of_fold=np.empty((0, every.task.classes)),
        span=None,
    )


def _views_of(every: View, inputs: Features | None, parts: Sequence[Part], at: int) -> list[View]:
    """The views of one part: its features, and the classes its backbone was pretrained with, where there are such."""
    plain = views.alone(every, parts, at) if len(parts) > 1 else every
    return [plain] if inputs is None else [plain, views.as_classes(inputs, parts[at], plain)]


@dataclass(frozen=True)
class _Tried:
    """Views of the same parts, the logistic heads of each, and which view of them (its position) is the best, and why.

    The first, the plain one, is left only for one that is clearly better; one that is not better is not kept, since it
    takes as much memory as the features. ``beside`` is what the plain one was compared by, where that is not its best.
    """

    views: Sequence[View]
    quick: Sequence[Sequence[CandidateHead]]
    at: int = 0
    why: str = ""
    beside: Sequence[CandidateHead] = ()

    @classmethod
    def of(cls, views: Sequence[View], redrawn: Sequence[Folds] = ()) -> _Tried:
        """Of a plain view, and that as classes where there is one. For ``redrawn`` see `choose`."""
        plain, *others = views
        quick = _quick(plain)
        if not others:
            return cls(views, [quick])
        (classes,) = others
        best = _lowest(quick)
        if len(best.losses) < FEW:
            return cls._of_few(plain, classes, quick, redrawn)
        found, better = _of_many(classes, best)
        why = tr("the ImageNet classes are clearly better than the features themselves") if better else ""
        return cls([plain, classes] if better else [plain], [quick, [found]], int(better), why)

    @classmethod
    def _of_few(cls, plain: View, classes: View, quick: Sequence[CandidateHead], redrawn: Sequence[Folds]) -> _Tried:
        """The same with few images: both views have one strength, and are judged in all the ways to fold the images.

        By the best strength of each and one way to fold, the gains of 16 scenes a class, in standard errors, overlap
        with those of 16 ants and bees; so, in fifteen draws each, scenes have less than 1 and ants and bees more than
        1.25. Accuracy on fold 4: ants and bees .959 instead of .928 (40 a class .959 instead of .933), scenes .874 as
        before. With 8 a class it is still a guess: ants and bees .953 instead of .919, but scenes .831 instead of .843,
        of which four draws in fifteen take the classes.
        """
        (compared, than), (found, losses) = _refolded(plain, redrawn), _refolded(classes, redrawn)
        better = clearly_lower(losses, than, _FEW_ERRORS)
        values = {"loss": losses.mean(), "other_loss": than.mean()}
        if better:
            why = tr(
                "the ImageNet classes are clearly better than the features themselves, by heads "
                "of one strength in all the ways to fold so few images ({loss:.4f} and {other_loss:.4f})",
                **values,
            )
        else:
            why = tr(
                "the ImageNet classes are not clearly better than the features themselves, by heads "
                "of one strength in all the ways to fold so few images ({loss:.4f} and {other_loss:.4f})",
                **values,
            )
        # The best may be of that strength too, but begun from another: its own figures stay what they are.
        known = [replace(each, refolded=compared.refolded) if each.name == compared.name else each for each in quick]
        beside = [] if compared.name in [each.name for each in quick] else [compared]
        return cls([plain, classes] if better else [plain], [known, [found]], int(better), why, beside)

    @property
    def view(self) -> View:
        return self.views[self.at]

    @property
    def best(self) -> CandidateHead:
        return _lowest(self.quick[self.at])

    @property
    def table(self) -> list[CandidateHead]:
        plain, *others = self.quick
        return [*plain, *self.beside, *(candidate for found in others for candidate in found)]


def _of_many(classes: View, plain: CandidateHead) -> tuple[CandidateHead, bool]:
    """The logistic head of the view as classes, and whether it is clearly better than the best of the plain view."""
    found = candidates.logistic(classes, [_FIRST])
    if not clearly_lower(plain.losses, found.losses):
        found = candidates.logistic(classes)
    return found, clearly_lower(found.losses, plain.losses)


def _refolded(view: View, redrawn: Sequence[Folds]) -> tuple[CandidateHead, Losses]:
    """The logistic head of a view, and the mean loss of each judged image (n,) in its own and other ways to fold."""
    found = candidates.logistic(view, [_FIRST])
    total = np.zeros(len(view.task.labels))
    total[view.task.judged] = found.losses
    for folds in redrawn:
        folded = replace(view, task=replace(view.task, folds=folds))
        total[folded.task.judged] += candidates.logistic(folded, [_FIRST]).losses
    losses = total[view.task.judged] / (1 + len(redrawn))
    return replace(found, refolded=float(losses.mean())), losses


def _quick(view: View) -> list[CandidateHead]:
    """The logistic heads of a view, without and with the texts."""
    found = [candidates.logistic(view)]
    if view.texts is not None:
        found.append(candidates.logistic(view.from_texts()))
    return found


def _lowest(found: Sequence[CandidateHead]) -> CandidateHead:
    return min(found, key=lambda candidate: candidate.loss)


def _parts(quick: Sequence[CandidateHead], drop: bool) -> tuple[int, str]:
    """Which is taken, and why: all parts, or the best alone where that may be and all are not clearly better.

    Logistic heads are compared, which take the least time; other heads are then fitted on this view only.
    """
    *singles, every = quick
    if not singles:
        return 0, ""
    best = int(np.argmin([candidate.loss for candidate in singles]))
    if clearly_lower(every.losses, singles[best].losses):
        label = singles[best].label
        return len(singles), tr("all parts together are clearly better than the best taken alone, {name}", name=label)
    if drop:
        return best, tr("all parts together are not better than this one alone by more than chance")
    alone = singles[best].name.partition(":")[0]
    return len(singles), tr("{name} alone would do as well: --drop-parts lets a fit leave the others out", name=alone)


def _head(
    view: View, quick: Sequence[CandidateHead], options: GradientOptions, on_epoch: OnEpoch | None
) -> tuple[list[CandidateHead], CandidateHead, str]:
    """The heads that are tried on a view beside ``quick``, the one that is taken, and why.

    It is the mean of gradient and logistic: which of near equals is ahead is chance, and the mean varies least. Of two
    sets with all images and with 16 a class, over five folds and three seeds, it was the best or next to it in accuracy
    and log-loss. A single head has to have more images right as well as a clearly lower loss: where few images are all
    right, the head that is too sure has the lowest.

    As classes, most inputs are nearly 0 and some far from it, where noise and Gaussians do not belong: on ants and bees
    log-loss .064 with logistic, .081 with gradient, .084 with discriminant, and .65 instead of .08 with 16 images a
    class. So it is logistic then, unless gradient is clearly better.
    """
    logistic = _lowest(quick)
    if view.pretrained is not None:
        gradient = candidates.gradient(view, options, on_epoch)
        if gradient.accuracy > logistic.accuracy and clearly_lower(gradient.losses, logistic.losses):
            why = tr("compared with logistic it has both more images right and a loss lower by more than chance")
            return [gradient], gradient, why
        why = tr("gradient does not have both more images right and a loss lower by more than chance")
        return [gradient], logistic, why
    if view.texts is not None and logistic is quick[1]:
        view = view.from_texts()
    gradient = candidates.gradient(view, options, on_epoch)
    mean = candidates.mean(view, mark("the mean of gradient and logistic"), [gradient, logistic])
    others = [candidates.discriminant(view), gradient, mean]
    best = _lowest([*quick, *others])
    if best.accuracy > mean.accuracy and clearly_lower(best.losses, mean.losses):
        why = tr("compared with the mean of heads it has both more images right and a loss lower by more than chance")
        return others, best, why
    why = tr(
        "the single head of the lowest loss does not have both more images right and a loss lower by more than chance"
    )
    return others, mean, why


def clearly_lower(losses: Losses, than: Losses, errors: float = 1) -> bool:
    """Whether losses (n,) are lower than others on the same images by so many standard errors, and by `MIN_DELTA`.

    Where all is right a loss of nearly nothing is easily lower still, and nobody would notice. One image alone tells
    nothing of chance.
    """
    if len(losses) < 2:
        return False
    gain = than - losses
    return bool(gain.mean() > max(errors * gain.std() / np.sqrt(len(gain)), MIN_DELTA))
