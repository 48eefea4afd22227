"""The gate: a lesson is published only if it is better by images that neither head had seen when it judged them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.classifier import Classifier
from models.deciding.decision import Rule, are_unknown
from models.scoring import score
from models.text.language import tr
from trainer.data.cache import Features
from trainer.data.dataset import Mask
from trainer.learning.files import FeaturesMissing
from trainer.learning.kept import UNJUDGED, Half, KeptFeatures
from trainer.learning.lesson import FittedLesson, Judged, LessonImages, is_filed_by
from trainer.measuring.filed_as import filed_as
from trainer.measuring.split_file import FILE_NAME as SPLIT_NAME
from trainer.measuring.split_file import HELD_OUT, LEAST_PROBABILITY, read_rows

#: With a smaller probability that the loss of right images is chance, a lesson is worse.
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

    Where it was held out, also the class ``predicted`` ("" where it would not be filed), and the ``probability`` of its
    label.
    """

    file: str
    label: str
    predicted: str | None = None
    probability: float = float("nan")


@dataclass(frozen=True)
class Before:
    """What the head in use makes of the images (n,) of a lesson that it had not seen then.

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
            row["sha256"]: Recorded(row["file"], row["label"], row["predicted"], float(row["true_probability"]))
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
    which it classifies now where it never saw them. An image of none of the classes is right where it is not filed.
    """
    classes = [*images.classes, None]
    is_told, right = np.zeros((2, len(images.labels)), bool)
    probability = np.full(len(images.labels), np.nan)
    for number, sha256 in enumerate(images.sha256):
        row = recorded.get(sha256)
        if row is not None and row.predicted is not None:
            label = classes[images.labels[number]] or ""
            is_told[number], right[number] = True, row.predicted == label
            if row.label == label:
                probability[number] = row.probability
    unseen = [row for row, sha256 in enumerate(images.sha256) if sha256 not in recorded and sha256 in features]
    for start in range(0, len(unseen), _ROWS):
        block = unseen[start : start + _ROWS]
        inputs = np.stack([features[images.sha256[row]] for row in block]).astype(np.float32)
        names = [classes[images.labels[row]] for row in block]
        right[block], probability[block] = _classify(base, inputs, names)
        is_told[block] = True
    return Before(is_told, right, probability)


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


def judge(fitted: FittedLesson, kept: KeptFeatures, before: Before, rule: Rule, *, may_win_nothing: bool) -> Judgement:
    """Judge a lesson beside the head in use, and beside that of the fit, from which all lessons came.

    It may have no fewer images of the data set right than chance explains, and has to pass `judge_labelled` by those
    that people labelled; where few images are judged, also `_is_clear` by all of them. ``rule`` is that of the lesson.
    """
    images = fitted.images
    right, probability = outcomes(fitted, rule)
    of_data_set = images.is_trusted & ~images.is_labelled & fitted.judged
    count = len(kept.labels)
    fit_told = np.zeros(len(images.labels), bool)
    fit_right = np.zeros(len(images.labels), bool)
    fit_told[:count], fit_right[:count] = kept.predicted != UNJUDGED, kept.predicted == kept.labels
    by_all = of_data_set & before.is_told
    by_fit = of_data_set & fit_told
    labelled = images.is_labelled & fitted.judged & before.is_told
    passed, counts = judge_labelled(right, probability, before, labelled, may_win_nothing=may_win_nothing)
    figures: dict[str, Any] = {
        "data_set": _counts(right, before.right, by_all),
        "since_the_fit": _counts(right, fit_right, by_fit),
        "labelled": counts,
    }
    for name, earlier, rows in (("data_set", before.right, by_all), ("since_the_fit", fit_right, by_fit)):
        if probability_of_chance(right[rows], earlier[rows]) < SIGNIFICANCE:
            return Judgement(False, _worse(figures[name]), figures)
    if not passed:
        return Judgement(False, no_better(figures["labelled"]), figures)
    if not may_win_nothing and not _is_clear(probability, before, fitted.judged):
        return Judgement(False, _unclear(probability, before, fitted.judged), figures)
    return Judgement(True, _better(figures), figures)


def _is_clear(probability: Probabilities, before: Before, judged: Mask) -> bool:
    """Tell whether the loss of the judged images is clearly lower, unless there are many.

    Those that people labelled are often few, and wrong labels are won by whoever learns them.
    """
    told = _told(before, judged)
    won = _losses(before.probability[told]) - _losses(probability[told])
    if not 0 < len(won) < _FEW_JUDGED:
        return True
    return bool(won.mean() >= _LEAST_GAIN * won.std() / np.sqrt(len(won)))


def _told(before: Before, among: Mask) -> Mask:
    """Tell of which images (n,) the head in use gave the right class a probability before it was fitted on them."""
    told: Mask = among & before.is_told & ~np.isnan(before.probability)
    return told


def judge_labelled(
    right: Mask, probability: Probabilities, before: Before, labelled: Mask, *, may_win_nothing: bool
) -> tuple[bool, dict[str, Any]]:
    """Tell whether a lesson may be published by the ``labelled`` images (n,) that were judged, and count them.

    It has to have more of them right or a lower log-loss, and no fewer than chance explains; the latter is enough where
    it brings something else (``may_win_nothing``): labels count no longer, or a promise holds again. ``right`` and
    ``probability`` are its `outcomes`.
    """
    told = _told(before, labelled)
    loss_now, loss_before = _loss(probability[told]), _loss(before.probability[told])
    counts = _counts(right, before.right, labelled) | {"loss": loss_now, "loss_before": loss_before}
    is_worse = probability_of_chance(right[labelled], before.right[labelled]) < SIGNIFICANCE
    is_better = counts["right"] > counts["right_before"] or loss_now < loss_before
    return not is_worse and (is_better or may_win_nothing), counts


def outcomes(fitted: Judged, rule: Rule) -> tuple[Mask, Probabilities]:
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


def _counts(right: Mask, before: Mask, among: Mask) -> dict[str, Any]:
    return {
        "images": int(among.sum()),
        "right": int(right[among].sum()),
        "right_before": int(before[among].sum()),
    }


def _loss(probability: Probabilities) -> float:
    """Return the mean log-loss of images by the probabilities (n,) of their classes; 0 without any."""
    return float(_losses(probability).mean()) if len(probability) else 0.0


def _losses(probability: Probabilities) -> Probabilities:
    losses: Probabilities = -np.log(np.maximum(probability, LEAST_PROBABILITY))
    return losses


def _worse(counts: dict[str, Any]) -> str:
    return tr(
        "it would have {right} of the {images} images of the data set right, and so far {right_before} are: more than "
        "chance is lost",
        **counts,
    )


def _unclear(probability: Probabilities, before: Before, judged: Mask) -> str:
    told = _told(before, judged)
    return tr(
        "by the {images} images that it was judged by, labelled ones and those of the data set, it is not clearly "
        "better yet (log-loss {now:.3f}, so far {so_far:.3f}): more labels will tell",
        images=int(told.sum()),
        now=_loss(probability[told]),
        so_far=_loss(before.probability[told]),
    )


def no_better(counts: dict[str, Any]) -> str:
    """Say why a lesson does not pass `judge_labelled`, which returned the ``counts``."""
    return tr(
        "of the {images} labelled images it would have {right} right without having seen them, and so far "
        "{right_before} are: nothing is won",
        **counts,
    )


def _better(figures: dict[str, Any]) -> str:
    labelled, of_data_set = figures["labelled"], figures["data_set"]
    values = {
        **labelled,
        "all_images": of_data_set["images"],
        "all_right": of_data_set["right"],
        "all_before": of_data_set["right_before"],
    }
    if labelled["right"] > labelled["right_before"]:
        return tr(
            "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
            "far; of the {all_images} of the data set {all_right}, and so far {all_before}",
            **values,
        )
    return tr(
        "of the {images} labelled images it has {right} right without having seen them, and {right_before} were so "
        "far, at a log-loss of {loss:.3f} and {loss_before:.3f}; of the {all_images} of the data set {all_right}, and "
        "so far {all_before}",
        **values,
    )
