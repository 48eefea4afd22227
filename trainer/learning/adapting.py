"""A lesson for a model whose images are not at hand: the starter, or a run that keeps no features."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.deciding.decision import Rule
from models.text.language import tr, trn
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
from trainer.learning.steadiness import FiledImages, Steadiness, asked_for, measure
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import lapsed_levels
from trainer.measuring.thresholds import Thresholds

#: The folds in which the labelled images judge.
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
            trn(
                "there is 1 labelled image, and it takes {least}",
                "there are {count} labelled images, and it takes {least}",
                len(answers.by_sha256),
                least=LEAST_IMAGES,
            )
        )
    images = _gather(answers, origin)
    if (images.folds == NEVER).all():
        raise NothingPublished(tr("there are too few images to judge a lesson by"))
    fitted = fit_adaptation(origin.adapted, images, TAUGHT)
    nothing_judged = Thresholds(
        0,
        origin.metadata.max_error,
        [],
        own=origin.metadata.served_threshold,
        levels=lapsed_levels(origin.metadata, fitted.images.classes),
    )
    thresholds = renew(nothing_judged, origin.metadata, fitted, audits)
    before = judge_before(origin.recorded, origin.in_use, fitted.images, answers.features)
    asked = asked_for(answers.by_sha256, answers.features, origin.adapted)
    metadata = fitted.metadata(origin.adapted.metadata).model_copy(
        update={"threshold": thresholds.threshold, "levels": list(thresholds.levels)}
    )
    steadiness = measure(filed, origin.in_use, metadata, fitted.head, asked)
    may_win_nothing = is_taken_back or thresholds.renews(origin.metadata)
    judgement = judge(fitted, before, steadiness, metadata.rule, may_win_nothing=may_win_nothing)
    nothing = LabelledPredictions(fitted.images.classes, np.zeros(0, int), np.zeros((0, len(fitted.images.classes))))
    return Lesson(
        origin.parent, origin.adapted, fitted, answers, None, nothing, thresholds, judgement, {}, origin=origin
    )


def _gather(answers: Answers, origin: Origin) -> LessonImages:
    """Return the labelled images alone, in folds by their hash."""
    none, width = np.zeros(0, np.int64), origin.metadata.width
    nothing = KeptFeatures(
        np.zeros((0, width), np.float16), none, none, none, none, as_hashes([]), [], Recipe(), _FOLDS, 0
    )
    return gather(nothing, answers.by_sha256, answers.features, answers.classes, answers.perceptual_hashes)


def judge(
    fitted: Adaptation, before: Before, steadiness: Steadiness, rule: Rule, *, may_win_nothing: bool
) -> Judgement:
    """Judge an adapted head beside the one in use: by what people labelled (`judge_labelled`), and steady elsewhere."""
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
