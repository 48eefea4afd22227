"""Choose a head and the view it is fitted on: candidates are compared on images that they were not fitted on.

Every image in a fold is judged by heads that were fitted on the other folds. Candidates are compared by their
out-of-fold log-loss after their temperatures are fitted, since that is what the daemon serves. The served head is
fitted on all images: measured over five folds of two sets, that is worth 0.3 points of accuracy (``python -m
tests.benchmarks.head_figures``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.text.language import tr
from trainer.data.cache import Features
from trainer.data.folds import NEVER, Folds
from trainer.heads import candidates, views
from trainer.heads.candidates import USUAL_STRENGTH, CandidateHead, View
from trainer.heads.choice import Choice, Start
from trainer.heads.growth import measure_growth
from trainer.heads.linear import MIN_DELTA, GradientOptions, OnEpoch
from trainer.heads.logistic import fit_logistic
from trainer.heads.missing_classes import MissingClasses, with_energies
from trainer.heads.propagation import propagate
from trainer.heads.recipe import Recipe
from trainer.heads.task import FittingTask
from trainer.heads.unknown import Span, fit_span
from trainer.heads.views import Part
from trainer.measuring.calibration import Labels, Losses

#: The strength of logistic regression where no image is judged.
_DEFAULT_STRENGTH = 1e-2
#: With fewer judged images, the features and the pretrained classes are compared over several divisions into folds.
FEW_IMAGES = 100
#: By how many standard errors the pretrained classes must then be better.
_FEW_STANDARD_ERRORS = 1.25


def choose_head(
    features: Features,
    labels: Labels,
    folds: Folds,
    classes: int,
    parts: Sequence[Part],
    options: GradientOptions,
    *,
    drop_parts: bool = False,
    redrawn_folds: Sequence[Folds] = (),
    unlabelled: Features | None = None,
    on_epoch: OnEpoch | None = None,
) -> Choice:
    """Fit heads on all parts and on each part, compare them and choose one.

    Only with ``drop_parts`` may the head use fewer than all parts. ``features`` (n, width) are raw and are overwritten:
    they are scaled in place, since there may be gigabytes. Images whose fold is `NEVER` take part in every fit.
    ``redrawn_folds`` are other divisions of the same images, used where fewer than `FEW_IMAGES` are judged. A head that
    learned from ``unlabelled`` images too (m, width; raw features) is taken where that clearly helps and it is no worse
    than the one taken otherwise. It is not tried where a class has no judged image, for which it might be worse.
    """
    if (folds == NEVER).all():
        return _choose_unjudged(views.view_of_all_parts(features, labels, classes, folds, parts))
    columns = np.split(features, np.cumsum([part.width for part in parts])[:-1], axis=1)
    class_inputs = deque(views.class_likenesses(raw, part) for raw, part in zip(columns, parts, strict=True))
    all_parts = views.view_of_all_parts(features, labels, classes, folds, parts)
    # The inputs are popped so that nothing else holds them: those of a view that loses are freed at once.
    comparisons = [
        _ViewComparison.from_views(_views_of_part(all_parts, class_inputs.popleft(), parts, position), redrawn_folds)
        for position in range(len(parts))
    ]
    if len(parts) > 1:
        comparisons.append(_ViewComparison.from_views([all_parts]))
    position, parts_reason = _choose_parts([comparison.best for comparison in comparisons], drop_parts)
    chosen = comparisons[position]
    others, winner, head_reason = _choose_kind(chosen.view, chosen.logistic[chosen.position], options, on_epoch)
    plain_logistic = chosen.logistic[chosen.position][0]
    view = _view_of_best(chosen)
    recipe = Recipe.of_winner(winner, chosen.best, view, options)
    propagation = None
    if unlabelled is not None and len(unlabelled) and _judges_every_class(all_parts.task):
        propagation = propagate(view, winner, unlabelled, parts, redrawn_folds)
        others = [*others, propagation.candidate]
        if propagation.is_taken:
            head_reason = tr(
                "unlabelled images help clearly, and its loss is lower than that of {name} with no fewer images right",
                name=winner.label,
            )
            winner = propagation.candidate
    table = [candidate for comparison in comparisons for candidate in comparison.table] + others
    span, missing_classes = _span(chosen, winner)
    return Choice(
        head=winner.heads[-1],
        scaling=chosen.view.scaling,
        parts=winner.parts,
        temperature=winner.temperature,
        winner=winner.name,
        label=winner.label,
        reason="; ".join(filter(None, [head_reason, chosen.reason, parts_reason])),
        candidates=sorted(table, key=lambda candidate: (len(candidate.parts), candidate.parts)),
        recipe=recipe,
        start=Start.from_candidate(
            chosen.views[0], winner if chosen.position == 0 else _lowest_loss(chosen.logistic[0])
        ),
        judged=all_parts.task.judged,
        out_of_fold=winner.out_of_fold,
        span=span,
        pretrained=chosen.view.pretrained,
        growth=measure_growth(chosen.view.task, plain_logistic.strength or USUAL_STRENGTH, plain_logistic.out_of_fold),
        missing_classes=missing_classes,
        propagation=propagation,
        texts=view.task.start,
    )


def _choose_unjudged(view: View) -> Choice:
    (heads,) = fit_logistic(view.task, [_DEFAULT_STRENGTH])
    return Choice(
        head=heads[-1],
        scaling=view.scaling,
        parts=view.parts,
        temperature=1.0,
        winner=f"logistic, C {_DEFAULT_STRENGTH:g}",
        label=tr("logistic, C {strength:g}", strength=_DEFAULT_STRENGTH),
        reason=tr("there is no held-out image to choose by"),
        candidates=[],
        recipe=Recipe(strength=_DEFAULT_STRENGTH),
        start=Start(heads[0], view.scaling),
        judged=view.task.judged,
        out_of_fold=np.empty((0, view.task.classes)),
        span=None,
    )


def _views_of_part(all_parts: View, class_inputs: Features | None, parts: Sequence[Part], position: int) -> list[View]:
    """Return the views of one part: its features and, where known, the classes that it was pretrained with."""
    plain = views.view_of_part(all_parts, parts, position) if len(parts) > 1 else all_parts
    return [plain] if class_inputs is None else [plain, views.view_as_classes(class_inputs, parts[position], plain)]


@dataclass(frozen=True)
class _ViewComparison:
    """Views of the same parts with the logistic candidates of each; ``position`` is that of the best view.

    The first view is the plain one, of the features. A view as classes replaces it only where that is clearly better;
    otherwise the view is dropped, since it takes as much memory as the features, and only its candidates stay.
    ``extra`` holds the candidate that stood for the plain view in the comparison, where it is none of ``logistic``.
    """

    views: Sequence[View]
    logistic: Sequence[Sequence[CandidateHead]]
    position: int = 0
    reason: str = ""
    extra: Sequence[CandidateHead] = ()

    @classmethod
    def from_views(cls, views: Sequence[View], redrawn_folds: Sequence[Folds] = ()) -> _ViewComparison:
        """Compare a plain view with the view as classes, if any; ``redrawn_folds`` are those of `choose_head`."""
        plain, *others = views
        logistic = _logistic_candidates(plain)
        if not others:
            return cls(views, [logistic])
        (classes,) = others
        best = _lowest_loss(logistic)
        if len(best.losses) < FEW_IMAGES:
            return cls._from_few_images(plain, classes, logistic, redrawn_folds)
        candidate, is_better = _compare_many_images(classes, best)
        reason = tr("the ImageNet classes are clearly better than the features themselves") if is_better else ""
        return cls([plain, classes] if is_better else [plain], [logistic, [candidate]], int(is_better), reason)

    @classmethod
    def _from_few_images(
        cls, plain: View, classes: View, logistic: Sequence[CandidateHead], redrawn_folds: Sequence[Folds]
    ) -> _ViewComparison:
        """Compare the two views with few images: at one strength, averaged over all divisions into folds.

        With the best strength of each view and one division, the gains of 16 scenes a class, in standard errors,
        overlap with those of 16 ants and bees; this way, in fifteen draws each, scenes gain less than 1, ants and
        bees more than 1.25. Accuracy of ants and bees on fold 4 is .956 (``python -m tests.benchmarks.choosing
        --rights``), with the features themselves .927. With 8 a class it is still a guess.
        """
        plain_candidate, plain_losses = _refold(plain, redrawn_folds)
        class_candidate, class_losses = _refold(classes, redrawn_folds)
        is_better = clearly_lower(class_losses, plain_losses, _FEW_STANDARD_ERRORS)
        values = {"loss": class_losses.mean(), "other_loss": plain_losses.mean()}
        if is_better:
            reason = tr(
                "the ImageNet classes are clearly better than the features themselves; with so few "
                "images, by the mean loss over several divisions into folds ({loss:.4f} and {other_loss:.4f})",
                **values,
            )
        else:
            reason = tr(
                "the ImageNet classes are not clearly better than the features themselves; with so few "
                "images, by the mean loss over several divisions into folds ({loss:.4f} and {other_loss:.4f})",
                **values,
            )
        # A candidate of the same name was fitted from another start, so its own losses stay and only the mean is added.
        annotated = [
            replace(candidate, refolded_loss=plain_candidate.refolded_loss)
            if candidate.name == plain_candidate.name
            else candidate
            for candidate in logistic
        ]
        extra = [] if plain_candidate.name in [candidate.name for candidate in logistic] else [plain_candidate]
        kept_views = [plain, classes] if is_better else [plain]
        return cls(kept_views, [annotated, [class_candidate]], int(is_better), reason, extra)

    @property
    def view(self) -> View:
        return self.views[self.position]

    @property
    def best(self) -> CandidateHead:
        return _lowest_loss(self.logistic[self.position])

    @property
    def table(self) -> list[CandidateHead]:
        plain, *others = self.logistic
        return [*plain, *self.extra, *(candidate for of_view in others for candidate in of_view)]


def _compare_many_images(classes: View, plain: CandidateHead) -> tuple[CandidateHead, bool]:
    """Return the logistic candidate of the view as classes, and whether it is clearly better than the plain one."""
    candidate = candidates.logistic_candidate(classes, [USUAL_STRENGTH], full=False)
    if not clearly_lower(plain.losses, candidate.losses):
        candidate = candidates.logistic_candidate(classes)
    return candidate, clearly_lower(candidate.losses, plain.losses)


def _refold(view: View, redrawn_folds: Sequence[Folds]) -> tuple[CandidateHead, Losses]:
    """Return the logistic candidate of a view, and each judged image's loss (n,) averaged over all divisions."""
    candidate = candidates.logistic_candidate(view, [USUAL_STRENGTH])
    total = np.zeros(len(view.task.labels))
    total[view.task.judged] = candidate.losses
    for folds in redrawn_folds:
        refolded_view = replace(view, task=replace(view.task, folds=folds))
        total[refolded_view.task.judged] += candidates.logistic_candidate(refolded_view, [USUAL_STRENGTH]).losses
    losses = total[view.task.judged] / (1 + len(redrawn_folds))
    return replace(candidate, refolded_loss=float(losses.mean())), losses


def _logistic_candidates(view: View) -> list[CandidateHead]:
    """Fit the logistic candidates of a view: without the texts and, where there are any, starting from them."""
    without_texts = candidates.logistic_candidate(view)
    if view.texts is None:
        return [without_texts]
    return [without_texts, candidates.logistic_candidate(view.starting_from_texts())]


def _lowest_loss(of_view: Sequence[CandidateHead]) -> CandidateHead:
    return min(of_view, key=lambda candidate: candidate.loss)


def _choose_parts(logistic: Sequence[CandidateHead], drop_parts: bool) -> tuple[int, str]:
    """Choose all parts, or with ``drop_parts`` the best single one unless all are clearly better; say why.

    ``logistic`` has the best candidate of each part and, last, that of all parts. Logistic heads are compared since
    they take the least time; other heads are then fitted on the chosen view only.
    """
    *singles, all_parts = logistic
    if not singles:
        return 0, ""
    best = int(np.argmin([candidate.loss for candidate in singles]))
    # Where one part gets every image right, a lower loss only says that more parts are surer of the same.
    if singles[best].accuracy < 1 and clearly_lower(all_parts.losses, singles[best].losses):
        label = singles[best].label
        return len(singles), tr("all parts together are clearly better than the best single one, {name}", name=label)
    if drop_parts:
        return best, tr("all parts together are not clearly better than this one alone")
    alone = singles[best].name.partition(":")[0]
    return len(singles), tr("{name} alone would do as well: fit with --drop-parts to leave the others out", name=alone)


def _choose_kind(
    view: View, logistic: Sequence[CandidateHead], options: GradientOptions, on_epoch: OnEpoch | None
) -> tuple[list[CandidateHead], CandidateHead, str]:
    """Fit the other kinds of head on a view; return them, the winner among them and ``logistic``, and the reason.

    The mean of gradient and logistic wins by default: which of near equals is ahead is chance, and the mean varies
    least. On two sets, with all images and with 16 a class, over five folds and three seeds, it was the best or the
    second best in accuracy and log-loss. A single head must have more images right as well as a clearly lower loss:
    where few images are judged and all are right, an overconfident head has the lowest loss.

    In a view as classes, most inputs are nearly 0 and some far from it, so noise and Gaussians do not suit them: on
    fold 4 of ants and bees log-loss .072 with logistic, .086 with gradient, .090 with discriminant, and .11, .20 and
    .22 with 16 images a class. There logistic wins by default, unless gradient is clearly better.
    """
    best_logistic = _lowest_loss(logistic)
    if view.pretrained is not None:
        gradient = candidates.gradient_candidate(view, options, on_epoch)
        if gradient.accuracy > best_logistic.accuracy and clearly_lower(gradient.losses, best_logistic.losses):
            reason = tr("it is more accurate than logistic, and its loss is clearly lower")
            return [gradient], gradient, reason
        reason = tr("gradient is not more accurate, or its loss is not clearly lower")
        return [gradient], best_logistic, reason
    if view.texts is not None and best_logistic is logistic[1]:
        view = view.starting_from_texts()
    gradient = candidates.gradient_candidate(view, options, on_epoch)
    mean = candidates.mean_candidate(view, candidates.MEAN, gradient, best_logistic)
    discriminant = candidates.discriminant_candidate(view, full=False)
    if not clearly_lower(mean.losses, discriminant.losses):
        # In all directions its log-loss on unseen images of ten skewed classes is lower by .02
        # (tests/benchmarks/choosing.py).
        discriminant = candidates.discriminant_candidate(view)
    others = [discriminant, gradient, mean]
    best = _lowest_loss([*logistic, *others])
    if best.accuracy > mean.accuracy and clearly_lower(best.losses, mean.losses):
        reason = tr("it is more accurate than the mean of gradient and logistic, and its loss is clearly lower")
        return others, best, reason
    reason = tr("the single head with the lowest loss is not more accurate, or its loss is not clearly lower")
    return others, mean, reason


def _span(chosen: _ViewComparison, winner: CandidateHead) -> tuple[Span | None, MissingClasses | None]:
    """Return what tells unknown images from those of a view, and what would become of those of a missing class."""
    span = fit_span(chosen.view.task.inputs, chosen.view.task.folds)
    if span is None:
        return None, None
    task = _view_of_best(chosen).task
    return with_energies(span, task, winner.out_of_fold / winner.temperature, chosen.best)


def _judges_every_class(task: FittingTask) -> bool:
    return len(np.unique(task.labels[task.judged])) == task.classes


def _view_of_best(chosen: _ViewComparison) -> View:
    """Return the chosen view, with heads that start from the texts where that was best."""
    is_from_texts = chosen.best is not chosen.logistic[chosen.position][0]
    return chosen.view.starting_from_texts() if is_from_texts else chosen.view


def clearly_lower(losses: Losses, others: Losses, standard_errors: float = 1) -> bool:
    """Tell whether losses (n,) are lower than others on the same images by `MIN_DELTA` and by more than chance.

    ``standard_errors`` says how many make more than chance. `MIN_DELTA` is needed where all images are right: there a
    loss of nearly nothing is easily lower still, which nobody would notice. One image alone tells nothing of chance.
    """
    if len(losses) < 2:
        return False
    gain = others - losses
    return bool(gain.mean() > max(standard_errors * gain.std() / np.sqrt(len(gain)), MIN_DELTA))
