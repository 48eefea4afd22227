"""The gate: a lesson is published only if it is better on images that neither head had seen when it judged them."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.classifier import Classifier
from models.deciding.rule import DecisionRule, are_unknown
from models.scoring import score
from models.text.language import tr
from trainer.data.cache import Features
from trainer.data.dataset import Mask
from trainer.data.folds import NEVER, Folds
from trainer.data.neighbours import Positions
from trainer.learning.files import FeaturesMissing
from trainer.learning.kept import UNJUDGED, Half, KeptFeatures
from trainer.learning.lesson import FittedLesson, Judged, LessonImages, is_filed_by
from trainer.learning.likeness import by_picture, spread_pictures
from trainer.measuring.filed_as import filed_as
from trainer.measuring.split_file import FILE_NAME as SPLIT_NAME
from trainer.measuring.split_file import HELD_OUT, LEAST_PROBABILITY, read_rows

#: A lesson is worse if its loss of right images is chance only with a smaller probability than this.
SIGNIFICANCE = 0.05
#: With fewer judged images, those of the data set among them, their loss has to be lower by so many standard errors.
#: Measured on ants and bees, 20 images and ten answers a day, the unsure first and 5 % of them wrong: a wrong answer of
#: the first ten was believed in one draw of five, which had .868 right in place of .941, since the lesson had won these
#: ten; with this it is refused, and .977 of the images are right on day ten on average, not .970. With a whole standard
#: error in place of half of one, random answers bring .002 in ten days, not .010.
_FEW_JUDGED, _LEAST_GAIN = 200, 0.5
#: Images that the head in use classifies at a time.
_ROWS = 1024

Probabilities = npt.NDArray[np.float64]
Losses = npt.NDArray[np.float64]


class NothingPublished(Exception):
    """The lesson ends without a new model; the message is the reason, in one sentence.

    ``result`` is what programs are told.
    """

    result = "refused"


def probability_of_chance(right: Mask, right_before: Mask) -> float:
    """Return how probable it is to lose so many right images (n,) by chance: McNemar's exact test with one tail."""
    lost, won = int((right_before & ~right).sum()), int((right & ~right_before).sum())
    return float(bdtr(won, lost + won, 0.5)) if lost + won else 1.0


@dataclass(frozen=True)
class Recorded:
    """What a run recorded of an image: its file and its label ("" for none of the classes).

    Where it was held out, also the class ``predicted`` ("" where it would not be filed) with its ``confidence``, the
    ``probability`` of its label, and its ``fold``.
    """

    file: str
    label: str
    predicted: str | None = None
    probability: float = float("nan")
    fold: int = NEVER
    confidence: float = float("nan")

    def at_most(self, label: str, classes: Collection[str]) -> float:
        """Return the highest probability that a head of ``classes`` can have given to a label.

        It is exact where it was recorded. So an image whose label somebody changed can be judged, too; the doubt is in
        favour of the head before.
        """
        if label == self.label:
            return self.probability
        if not label:
            return 1 - self.confidence
        if label not in classes:
            return 0.0
        return self.confidence if self.predicted in (label, "") else min(self.confidence, 1 - self.confidence)


@dataclass(frozen=True)
class Before:
    """What the head in use made of the images (n,) of a lesson before it had seen them.

    ``right`` counts only where ``is_told``. ``probability`` is that of the right class, NaN where it is not told.
    """

    is_told: Mask
    right: Mask
    probability: Probabilities


@dataclass(frozen=True)
class Judgement:
    """Whether a lesson ``passed``, why or why not, and the counts that decided it."""

    passed: bool
    reason: str
    figures: dict[str, Any]


def read_recorded(run: Path) -> dict[str, Recorded]:
    """Read the images of ``split.csv`` of a run, by their sha256. Raises `FeaturesMissing`."""
    try:
        return {
            row["sha256"]: Recorded(
                row["file"],
                row["label"],
                row["predicted"],
                float(row["true_probability"]),
                int(row["fold"]),
                float(row["confidence"]),
            )
            if row["side"] == HELD_OUT
            else Recorded(row["file"], row["label"])
            for row in read_rows(run)
        }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise FeaturesMissing(
            tr("{path} is damaged, so the run cannot learn from labels: fit again", path=run / SPLIT_NAME)
        ) from error


def judge_before(
    recorded: Mapping[str, Recorded], base: Classifier, images: LessonImages, features: Mapping[str, Half]
) -> Before:
    """Judge the images of a lesson by the head in use, as far as it was not fitted on them.

    Its own out-of-fold predictions are ``recorded``, by sha256; ``features``, by sha256, has those of labelled images,
    which it classifies now where it saw neither them nor near duplicates of them (see `trainer.learning.likeness`). An
    image of none of the classes is right where it is not filed.
    """
    classes = [*images.classes, None]
    is_told, right = np.zeros((2, len(images.labels)), bool)
    probability = np.full(len(images.labels), np.nan)
    rows = [recorded.get(sha256) for sha256 in images.sha256]
    is_recorded = np.array([row is not None for row in rows], bool)
    is_fair = _told_fairly(images, np.array([NEVER if row is None else row.fold for row in rows]), is_recorded)
    for number, row in enumerate(rows):
        if row is not None and row.predicted is not None and is_fair[number]:
            label = classes[images.labels[number]] or ""
            is_told[number], right[number] = True, row.predicted == label
            probability[number] = row.at_most(label, base.classes)
    has_seen_like = np.isin(images.pictures, images.pictures[is_recorded])
    unseen = [row for row in np.flatnonzero(~has_seen_like).tolist() if images.sha256[row] in features]
    for start in range(0, len(unseen), _ROWS):
        block = unseen[start : start + _ROWS]
        inputs = np.stack([features[images.sha256[row]] for row in block]).astype(np.float32)
        names = [classes[images.labels[row]] for row in block]
        right[block], probability[block] = _classify(base, inputs, names)
        is_told[block] = True
    return Before(is_told, right, probability)


def _told_fairly(images: LessonImages, recorded: Folds, is_recorded: Mask) -> Mask:
    """Return for which images (n,) the recorded prediction can be compared with one of now.

    ``recorded`` (n,) are the folds at that time. Where near duplicates lay in several, the head had seen some like it.
    """
    then = spread_pictures(images.pictures, recorded, is_recorded)
    now = spread_pictures(images.pictures, images.folds, np.ones(len(images.folds), bool))
    is_fair: Mask = ~np.isin(images.pictures, np.setdiff1d(then, now))
    return is_fair


def _classify(base: Classifier, features: Features, labels: list[str | None]) -> tuple[Mask, Probabilities]:
    """Return whether each image is right, and the probability of its class, by the head in use."""
    probabilities, strangeness = score(base.metadata, base.head, features)
    confidence, best = probabilities.max(axis=1), probabilities.argmax(axis=1)
    metadata = base.metadata
    filed = [folder for _, folder in filed_as(metadata.rule, base.tree, probabilities, are_unknown(strangeness))]
    position = {name: number for number, name in enumerate(base.classes)}
    right, of_true = np.zeros(len(labels), bool), np.zeros(len(labels))
    for row, label in enumerate(labels):
        if label is None:
            right[row], of_true[row] = filed[row] is None, 1 - confidence[row]
        elif label in position:
            right[row], of_true[row] = best[row] == position[label], probabilities[row, position[label]]
    return right, of_true


def judge(
    fitted: FittedLesson, kept: KeptFeatures, before: Before, rule: DecisionRule, *, may_win_nothing: bool
) -> Judgement:
    """Compare a lesson with the head in use, and with that of the fit, from which all lessons came.

    It may have no fewer images of the data set right than chance explains, and has to pass `judge_labelled` by those
    that people labelled; where few images are judged, also `_is_clear` by all of them. Near duplicates count as one
    image. ``rule`` is that of the lesson.
    """
    images, pictures = fitted.images, fitted.images.pictures
    right, probability = outcomes(fitted, rule)
    of_data_set = images.is_trusted & ~images.is_labelled & fitted.judged
    count = len(kept.labels)
    fit_told = np.zeros(len(images.labels), bool)
    fit_right = np.zeros(len(images.labels), bool)
    fit_told[:count], fit_right[:count] = kept.predicted != UNJUDGED, kept.predicted == kept.labels
    by_all = of_data_set & before.is_told
    by_fit = of_data_set & fit_told
    labelled = images.is_labelled & fitted.judged & before.is_told
    passed, counts = judge_labelled(right, probability, before, labelled, pictures, may_win_nothing=may_win_nothing)
    now, so_far = _right(right, pictures, by_all), _right(before.right, pictures, by_all)
    since, then = _right(right, pictures, by_fit), _right(fit_right, pictures, by_fit)
    figures: dict[str, Any] = {
        "data_set": _counts(now, so_far),
        "since_the_fit": _counts(since, then),
        "labelled": counts,
    }
    for name, later, earlier in (("data_set", now, so_far), ("since_the_fit", since, then)):
        if probability_of_chance(later, earlier) < SIGNIFICANCE:
            return Judgement(False, _worse(figures[name]), figures)
    if not passed:
        return Judgement(False, no_better(figures["labelled"]), figures)
    told = _told(before, fitted.judged)
    losses = by_picture(_losses(probability), pictures, told), by_picture(_losses(before.probability), pictures, told)
    if not may_win_nothing and not _is_clear(*losses):
        return Judgement(False, _unclear(*losses), figures)
    return Judgement(True, _better(figures), figures)


def _is_clear(losses: Losses, losses_before: Losses) -> bool:
    """Tell whether the loss of the judged images is clearly lower, unless there are many.

    Those that people labelled are often few, and a head that has learned wrong labels wins on them.
    """
    won = losses_before - losses
    if not 0 < len(won) < _FEW_JUDGED:
        return True
    return bool(won.mean() >= _LEAST_GAIN * won.std() / np.sqrt(len(won)))


def _told(before: Before, among: Mask) -> Mask:
    """Return of which images (n,) the probability is known that the head in use gave their class before it saw them."""
    told: Mask = among & before.is_told & ~np.isnan(before.probability)
    return told


def judge_labelled(
    right: Mask,
    probability: Probabilities,
    before: Before,
    labelled: Mask,
    pictures: Positions,
    *,
    may_win_nothing: bool,
) -> tuple[bool, dict[str, Any]]:
    """Tell whether a lesson may be published by the ``labelled`` images (n,) that were judged, and count them.

    It has to have more of them right or a lower log-loss, and no fewer than chance explains; the latter is enough where
    the lesson is of other use (``may_win_nothing``): labels were taken back, or a promise holds again. ``right`` and
    ``probability`` are its `outcomes`. Images of one of the ``pictures`` (n,) count as one.
    """
    told = _told(before, labelled)
    loss_now = _mean(by_picture(_losses(probability), pictures, told))
    loss_before = _mean(by_picture(_losses(before.probability), pictures, told))
    now, so_far = _right(right, pictures, labelled), _right(before.right, pictures, labelled)
    counts = _counts(now, so_far) | {"loss": loss_now, "loss_before": loss_before}
    counts["near_duplicates"] = int(labelled.sum()) - len(now)
    is_worse = probability_of_chance(now, so_far) < SIGNIFICANCE
    is_better = counts["right"] > counts["right_before"] or loss_now < loss_before
    return not is_worse and (is_better or may_win_nothing), counts


def outcomes(fitted: Judged, rule: DecisionRule) -> tuple[Mask, Probabilities]:
    """Return whether each image (n,) is right out of fold, and the probability of its class; NaN where not judged."""
    images, judged = fitted.images, fitted.judged
    right, probability = np.zeros(len(judged), bool), np.full(len(judged), np.nan)
    labels, rows = images.labels[judged], np.arange(int(judged.sum()))
    confidence = fitted.probabilities.max(axis=1)
    of_class = np.minimum(labels, len(images.classes) - 1)
    is_negative = images.is_negative[judged]
    is_filed = is_filed_by(rule, fitted)
    right[judged] = np.where(is_negative, ~is_filed, fitted.probabilities.argmax(axis=1) == labels)
    probability[judged] = np.where(is_negative, 1 - confidence, fitted.probabilities[rows, of_class])
    return right, probability


def _right(right: Mask, pictures: Positions, among: Mask) -> Mask:
    """Return for each of the ``pictures`` (n,) with images in ``among`` (n,) whether half of them or more are right."""
    is_right: Mask = by_picture(right, pictures, among) >= 0.5
    return is_right


def _counts(right: Mask, before: Mask) -> dict[str, Any]:
    return {"images": len(right), "right": int(right.sum()), "right_before": int(before.sum())}


def _mean(losses: Losses) -> float:
    """Return the mean of losses; 0 without any."""
    return float(losses.mean()) if len(losses) else 0.0


def _losses(probability: Probabilities) -> Losses:
    """Return the log-losses (n,) of images by the probabilities (n,) of their classes."""
    losses: Losses = -np.log(np.maximum(probability, LEAST_PROBABILITY))
    return losses


def _worse(counts: dict[str, Any]) -> str:
    return tr(
        "it would have {right} of the {images} images of the data set right, and so far {right_before} are: more than "
        "chance is lost",
        **counts,
    )


def _unclear(losses: Losses, losses_before: Losses) -> str:
    return tr(
        "by the {images} images that it was judged by, labelled ones and those of the data set, it is not clearly "
        "better yet (log-loss {now:.3f}, so far {so_far:.3f}): more labels will tell",
        images=len(losses),
        now=_mean(losses),
        so_far=_mean(losses_before),
    )


def no_better(counts: dict[str, Any]) -> str:
    """Say why a lesson does not pass `judge_labelled`, which returned the ``counts``."""
    says = tr(
        "of the {images} labelled images it would have {right} right without having seen them, and so far "
        "{right_before} are: nothing is won",
        **counts,
    )
    return with_near_duplicates(says, counts)


def with_near_duplicates(says: str, counts: dict[str, Any]) -> str:
    """Say how near duplicates were counted, if there are any among the labelled images."""
    return tr("{says} (near duplicates count as one image)", says=says) if counts["near_duplicates"] else says


def _better(figures: dict[str, Any]) -> str:
    labelled, of_data_set = figures["labelled"], figures["data_set"]
    values = {
        **labelled,
        "all_images": of_data_set["images"],
        "all_right": of_data_set["right"],
        "all_before": of_data_set["right_before"],
    }
    if labelled["right"] > labelled["right_before"]:
        says = tr(
            "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
            "far; of the {all_images} of the data set {all_right}, and so far {all_before}",
            **values,
        )
    else:
        says = tr(
            "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
            "far, at a log-loss of {loss:.3f} and {loss_before:.3f}; of the {all_images} of the data set {all_right}, "
            "and so far {all_before}",
            **values,
        )
    return with_near_duplicates(says, labelled)
