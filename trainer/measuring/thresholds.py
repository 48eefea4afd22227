"""Thresholds: which one a checkpoint ships, what it promises, and which others there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from models.checkpoints.metadata import DEFAULT_THRESHOLD, Level, Metadata, Promise, strictest
from models.checkpoints.promises import CERTAINTY, percent, what_holds, why_lapsed
from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule
from models.text.language import tr
from trainer.data.neighbours import Positions
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import find_levels, level_sentences
from trainer.measuring.promises import Confidence, Mask, find_promise, promise_instead, surest_only
from trainer.measuring.remedy import Remedy, find_remedy

#: The promises that every checkpoint makes as far as its images allow, besides the one that was asked for.
STANDARD_MAX_ERRORS = (0.01, 0.02, 0.05, 0.1)
#: A threshold that files a smaller share of the judged images files next to nothing.
_FEW_FILED = 0.2


@dataclass(frozen=True)
class Thresholds:
    """The promises that ``judged`` images (a number) allow; ``requested`` is the user's share of mistakes, if any.

    ``own`` is the threshold that the checkpoint then ships, and ``kept_promise`` what it promises, if anything. Where
    that is not what was requested, ``remedy`` is what would make that possible. ``given`` is the user's threshold, if
    any. ``standard`` are the promises of `STANDARD_MAX_ERRORS`, and ``lenient`` is the threshold that would be shipped
    for the largest of these, where less was requested. The promise has ``lapsed`` where a lesson could not renew it;
    ``own`` is then the threshold from before the lesson. ``is_doubted``: it lapsed because audits contradict it.
    ``audited``: how many audited images it was made from, if any. ``levels`` say the same of inner folders, where a
    share was requested.
    """

    judged: int
    requested: float | None
    promises: list[Promise]
    own: float | None = None
    kept_promise: Promise | None = None
    remedy: Remedy | None = None
    given: float | None = None
    standard: list[Promise] = field(default_factory=list)
    lenient: float | None = None
    lapsed: bool = False
    is_doubted: bool = False
    audited: int = 0
    levels: Sequence[Level] = ()

    def rule(self, classes: Sequence[str]) -> DecisionRule:
        """Return the rule that the daemon goes by, unless its user sets a threshold, for these classes."""
        if self.requested is None:
            return DecisionRule(self.threshold, levels=dict.fromkeys(ClassTree(classes).depths, self.threshold))
        levels = {level.depth: level.threshold for level in self.levels if level.threshold is not None}
        return DecisionRule(self.threshold, levels=levels)

    def counts(self, predictions: LabelledPredictions) -> ThresholdCounts:
        """Count what the daemon would do with the judged images."""
        return predictions.counts_by(self.rule(predictions.classes))

    @property
    def threshold(self) -> float:
        """The threshold that the daemon uses, unless its user sets one."""
        return DEFAULT_THRESHOLD if self.own is None else self.own

    def renews(self, base: Metadata) -> bool:
        """Whether this renews the promise of ``base``, which had lapsed."""
        return base.promise_lapsed and self.kept_promise is not None

    def with_given(self, threshold: float, *, insisted: bool) -> Thresholds:
        """Return the same with the user's threshold in force.

        If a share of mistakes was requested, too, a threshold that files more is used only if the user ``insisted``.
        """
        if self.requested is not None and threshold < self.threshold and not insisted:
            return replace(self, given=threshold)
        return Thresholds(self.judged, None, self.promises, own=threshold, given=threshold, standard=self.standard)

    def figures(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says of the thresholds."""
        return {
            "max_error": self.requested,
            "judged": self.judged,
            "audited": self.audited,
            "threshold": self.threshold,
            "kept_promise": None if self.kept_promise is None else self.kept_promise.model_dump(),
            "remedy": None if self.remedy is None else asdict(self.remedy),
            "promises": [promise.model_dump() for promise in self.promises],
            "levels": [level.model_dump() for level in self.levels],
        }

    def sentences(self, predictions: LabelledPredictions) -> list[str]:
        """Say which threshold is in force, what it files of the judged images, and what other thresholds promise."""
        others = [
            _offer(promise, predictions) for promise in strictest(self.standard) if not self._says_as_much(promise)
        ]
        refused = [] if self.given in (None, self.own) else [self._refusal()]
        inner = level_sentences(self.levels, self.requested, self.counts(predictions), predictions)
        return [self._in_force(predictions), *inner, *refused, *self._warning(predictions), *others]

    def _says_as_much(self, promise: Promise) -> bool:
        """Whether the kept promise is one for the same threshold, and as strict and as certain."""
        kept = self.kept_promise
        if kept is None or kept.typed_threshold != promise.typed_threshold:
            return False
        return kept.max_error <= promise.max_error and (kept.certainty or 0) >= CERTAINTY

    def _warning(self, predictions: LabelledPredictions) -> list[str]:
        """Warn where next to nothing is filed, and say what would file more."""
        now, usual = self.counts(predictions), predictions.counts_at(DEFAULT_THRESHOLD)
        few = _FEW_FILED * now.images
        if now.filed >= few:
            return []
        warning = (
            tr("warning: with this threshold nearly every image goes to others/")
            if now.filed
            else tr("warning: with this threshold every image goes to others/")
        )
        lenient = None if self.lenient is None else predictions.counts_at(self.lenient)
        if lenient is not None and lenient.filed >= few:
            return [_with_lenient(warning, lenient, usual)]
        if usual.filed <= now.filed:
            return [warning]
        return [
            tr(
                "{warning}; without a promise, --threshold {usual:g} instead would file {filed} of the {images} judged "
                "images, {wrong} of them wrongly",
                warning=warning,
                usual=usual.threshold,
                images=usual.images,
                filed=usual.filed,
                wrong=usual.wrong,
            )
        ]

    def _refusal(self) -> str:
        return tr(
            "--threshold {threshold:g} is not used, since it files more than --max-error allows: "
            "to use it all the same, add --publish always",
            threshold=self.given,
        )

    def _in_force(self, predictions: LabelledPredictions) -> str:
        counts, why = predictions.counts_at(self.threshold), self._why(predictions)
        if self.threshold == 0:
            return tr(
                "only images unlike anything it was taught go to others/ ({why}): {told}",
                why=why,
                told=_what_becomes(counts),
            )
        return tr(
            "images it is less than {sure} % sure of go to others/ ({why}): {told}",
            sure=percent(self.threshold),
            why=why,
            told=_what_becomes(counts),
        )

    def _why(self, predictions: LabelledPredictions) -> str:
        if self.own is not None and self.own == self.given:
            return tr("the threshold that was given")
        if self.requested is None:
            return tr("the default threshold, since --max-error is not given")
        if self.lapsed:
            return why_lapsed(self.requested, is_doubted=self.is_doubted)
        promised = what_holds(self.kept_promise, self.requested, self.audited)
        if self.remedy is None:
            return promised
        remedy = self.remedy.sentence(self.requested, labels_are_listed=not predictions.is_no_better_than_chance)
        return tr("{promised}; {remedy}", promised=promised, remedy=remedy)


def _with_lenient(warning: str, lenient: ThresholdCounts, usual: ThresholdCounts) -> str:
    """Continue a warning with what the largest standard share of mistakes would file, and the default threshold."""
    values = {
        "warning": warning,
        "max_error": f"{100 * max(STANDARD_MAX_ERRORS):g}%",
        "usual": usual.threshold,
        "images": lenient.images,
        "filed": lenient.filed,
        "wrong": lenient.wrong,
    }
    if (lenient.filed, lenient.wrong) == (usual.filed, usual.wrong):
        return tr(
            "{warning}; --max-error {max_error} instead, or without a promise --threshold {usual:g}, would file "
            "{filed} of the {images} judged images, {wrong} of them wrongly",
            **values,
        )
    return tr(
        "{warning}; --max-error {max_error} instead would file {filed} of the {images} judged images, {wrong} of them "
        "wrongly; without a promise, --threshold {usual:g} instead would file {others}, {others_wrong} of them wrongly",
        others=usual.filed,
        others_wrong=usual.wrong,
        **values,
    )


def _offer(promise: Promise, predictions: LabelledPredictions) -> str:
    """Say what the threshold of a promise files, and what it promises."""
    counts = predictions.counts_at(promise.typed_threshold)
    values = {
        "threshold": promise.typed_threshold,
        "share": counts.filed / counts.images,
        "max_error": 100 * promise.max_error,
        "certainty": 100 * CERTAINTY,
    }
    if predictions.tree.depths:
        return tr(
            "with --threshold {threshold:g}, {share:.1%} of the judged images are filed into the folder of a class; "
            "at most {max_error:.3g} % of these will be wrong ({certainty:.3g} % certain)",
            **values,
        )
    if counts.filed + counts.unknown == counts.images:
        return tr(
            "with --threshold {threshold:g} (files all but what is unlike anything it was taught), {share:.1%} of the "
            "judged images are filed; at most {max_error:.3g} % of what is filed will be wrong "
            "({certainty:.3g} % certain)",
            **values,
        )
    return tr(
        "with --threshold {threshold:g}, {share:.1%} of the judged images are filed; "
        "at most {max_error:.3g} % of what is filed will be wrong ({certainty:.3g} % certain)",
        **values,
    )


def _what_becomes(counts: ThresholdCounts) -> str:
    """Say what becomes of the judged images, if there are any."""
    if not counts.images:
        return tr("no image could be judged to tell how many that are")
    if not counts.filed:
        return tr("of {images} judged images none is filed", images=counts.images)
    return tr(
        "of {images} judged images {filed} ({share:.1%}) are filed, {wrong} of them wrongly ({wrong_share:.2%})",
        images=counts.images,
        filed=counts.filed,
        share=counts.filed / counts.images,
        wrong=counts.wrong,
        wrong_share=counts.wrong / counts.filed,
    )


def thresholds_for(
    predictions: LabelledPredictions, groups: Positions, requested: float | None, names: Sequence[str]
) -> Thresholds:
    """Find the thresholds for judged images (n,), which have these ``names``.

    ``groups`` (n,) are those of `trainer.data.neighbours`: near duplicates count as one image when a promise is made.
    Coverage counts them all, as everywhere else.
    """
    first = np.unique(groups, return_index=True)[1]
    confidence = np.where(predictions.is_unknown, -1.0, predictions.confidence)[first]
    found = choose_thresholds(confidence, predictions.right[first], requested, [names[position] for position in first])

    def with_coverage(promise: Promise) -> Promise:
        filed = predictions.counts_at(promise.threshold).filed
        return promise.model_copy(update={"coverage": filed / len(predictions.labels)})

    kept = None if found.kept_promise is None else with_coverage(found.kept_promise)
    promises, standard = ([with_coverage(promise) for promise in some] for some in (found.promises, found.standard))
    found = replace(found, promises=promises, standard=standard, kept_promise=kept)
    if requested is None or not predictions.tree.depths:
        return found
    shares = sorted({requested, requested if kept is None else max(requested, kept.max_error)})
    return replace(found, levels=find_levels(predictions, first, found.threshold, shares))


def choose_thresholds(confidence: Confidence, right: Mask, requested: float | None, names: Sequence[str]) -> Thresholds:
    """Find the thresholds for the standard promises, and for ``requested`` or what comes nearest to it.

    ``confidence``, ``right`` and ``names`` (n,) are of judged images, as in `find_promise`.
    """
    found = (find_promise(confidence, right, max_error) for max_error in STANDARD_MAX_ERRORS)
    standard = [promise for promise in found if promise is not None]
    if requested is None:
        return Thresholds(len(right), None, standard, standard=standard)
    asked_for = find_promise(confidence, right, requested)
    kept = asked_for or promise_instead(confidence, right, requested)
    if kept is None:
        own, promises = surest_only(confidence, right, requested), standard
    else:
        own = kept.threshold
        others = [promise for promise in standard if promise.max_error != kept.max_error]
        promises = sorted([*others, kept], key=lambda promise: promise.max_error)
    remedy = None if asked_for or not len(right) else find_remedy(confidence, right, requested, names)
    most = max(STANDARD_MAX_ERRORS)
    lenient = _shipped_threshold(confidence, right, most) if requested < most else None
    return Thresholds(len(right), requested, promises, own, kept, remedy, standard=standard, lenient=lenient)


def _shipped_threshold(confidence: Confidence, right: Mask, requested: float) -> float:
    """Return the threshold that a checkpoint ships for ``requested``."""
    kept = find_promise(confidence, right, requested) or promise_instead(confidence, right, requested)
    return surest_only(confidence, right, requested) if kept is None else kept.threshold
