"""A lesson for a model whose images are not at hand: the starter, or a run that keeps no features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.checkpoints.metadata import Metadata
from models.deciding.rule import DecisionRule
from models.text.language import tr
from trainer.data.folds import NEVER
from trainer.heads.candidates import USUAL_STRENGTH
from trainer.heads.recipe import Recipe
from trainer.learning.adaptation import Adaptation, fit_adaptation
from trainer.learning.answers import LEAST_IMAGES, Answers
from trainer.learning.audits import Audits, renew
from trainer.learning.gate import (
    Before,
    Judgement,
    NothingPublished,
    judge_before,
    judge_labelled,
    no_better,
    outcomes,
    with_near_duplicates,
)
from trainer.learning.kept import KeptFeatures, as_hashes
from trainer.learning.lesson import LessonImages, gather
from trainer.learning.origin import Origin
from trainer.learning.record import Lesson
from trainer.learning.steadiness import FiledImages, Steadiness, asked_for, make_steady, measure
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import lapsed_levels
from trainer.measuring.thresholds import Thresholds

#: The number of folds in which the labelled images judge a head.
_FOLDS = 5
#: How the head of what people taught is fitted. Tried with eight draws of ten images a class in eight sets, without the
#: starter: .790 are right at a log-loss of .547; by the logistic head alone .787 and .568 (.786 and .594 to .788 and
#: .563 at other strengths), by the discriminant .784 and .602, and by whichever of all these has the lowest loss out of
#: fold .784 and .626: fifty images are too few to choose by.
TAUGHT = Recipe(kind="mean", strength=USUAL_STRENGTH)


def adapt(origin: Origin, answers: Answers, filed: FiledImages, audits: Audits, *, is_taken_back: bool) -> Lesson:
    """Fit and judge what people taught. Raises `NothingPublished` where there are too few images."""
    if len(answers.by_sha256) < LEAST_IMAGES:
        raise NothingPublished(
            tr(
                "only {count} of the labels can be learned from yet, and a lesson takes {least}",
                count=len(answers.by_sha256),
                least=LEAST_IMAGES,
            )
        )
    images = _gather(answers, origin)
    if (images.folds == NEVER).all():
        raise NothingPublished(tr("there are too few images to judge a lesson by"))
    asked = asked_for(answers.by_sha256, answers.features, origin.adapted)
    far = _Adapted.by(fit_adaptation(origin.adapted, images, TAUGHT), origin, audits)
    steady = make_steady(far.fitted, lambda fitted: replace(far, fitted=fitted).measure(filed, asked))
    taken = far if steady is far.fitted else _Adapted.by(steady, origin, audits)
    before = judge_before(origin.recorded, origin.in_use, taken.fitted.images, answers.features)
    may_win_nothing = is_taken_back or taken.thresholds.renews(origin.metadata)
    judgement = judge(
        taken.fitted, before, taken.measure(filed, asked), taken.metadata.rule, may_win_nothing=may_win_nothing
    )
    if taken is not far and not judgement.passed:  # what was taught reaches so few images now that it wins nothing
        judgement = replace(judgement, reason=far.measure(filed, asked).reason)
    classes = taken.fitted.images.classes
    nothing = LabelledPredictions(classes, np.zeros(0, int), np.zeros((0, len(classes))))
    return Lesson(
        origin.parent,
        origin.adapted,
        taken.fitted,
        answers,
        None,
        nothing,
        taken.thresholds,
        judgement,
        {},
        origin=origin,
    )


@dataclass(frozen=True)
class _Adapted:
    """What was ``fitted``, and the ``thresholds`` by which it files."""

    origin: Origin
    fitted: Adaptation
    thresholds: Thresholds

    @classmethod
    def by(cls, fitted: Adaptation, origin: Origin, audits: Audits) -> _Adapted:
        """Find the thresholds without a data set: those of the model in use, or those that audits allow."""
        levels = lapsed_levels(origin.metadata, fitted.images.classes)
        nothing_judged = Thresholds(
            0, origin.metadata.max_error, [], own=origin.metadata.served_threshold, levels=levels
        )
        return cls(origin, fitted, renew(nothing_judged, origin.metadata, fitted, audits))

    @property
    def metadata(self) -> Metadata:
        """The metadata that a checkpoint of it would have."""
        update = {"threshold": self.thresholds.threshold, "levels": list(self.thresholds.levels)}
        return self.fitted.metadata(self.origin.adapted.metadata).model_copy(update=update)

    def measure(self, filed: FiledImages, asked: set[tuple[str, str]]) -> Steadiness:
        """Compare it with the model in use."""
        return measure(filed, self.origin.in_use, self.metadata, self.fitted.head, asked)


def _gather(answers: Answers, origin: Origin) -> LessonImages:
    """Return the labelled images alone, in folds by their hash."""
    none, width = np.zeros(0, np.int64), origin.metadata.width
    nothing = KeptFeatures(
        np.zeros((0, width), np.float16), none, none, none, none, as_hashes([]), [], Recipe(), _FOLDS, 0
    )
    return gather(nothing, answers.by_sha256, answers.features, answers.classes, answers.perceptual_hashes)


def judge(
    fitted: Adaptation, before: Before, steadiness: Steadiness, rule: DecisionRule, *, may_win_nothing: bool
) -> Judgement:
    """Compare an adapted head with the one in use, on labelled images (`judge_labelled`) and on filed ones."""
    right, probability = outcomes(fitted, rule)
    labelled = fitted.judged & before.is_told
    passed, counts = judge_labelled(
        right, probability, before, labelled, fitted.images.pictures, may_win_nothing=may_win_nothing
    )
    figures: dict[str, Any] = {
        "labelled": counts,
        "filed": {"images": steadiness.images, "changed": steadiness.changed, "asked_for": steadiness.asked},
    }
    if not steadiness.is_enough:
        return Judgement(False, steadiness.reason, figures)
    if not passed:
        return Judgement(False, no_better(counts), figures)
    values = counts | {"filed": steadiness.images, "changed": steadiness.changed}
    if not steadiness.images:
        better = tr(
            "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
            "far",
            **values,
        )
        return Judgement(True, with_near_duplicates(better, counts), figures)
    better = tr(
        "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
        "far; of the last {filed} images that were filed and left there, {changed} would go elsewhere",
        **values,
    )
    return Judgement(True, with_near_duplicates(better, counts), figures)
