"""Promises: the threshold at which no more than a given share of the images filed is wrong, and how sure that is.

A promise is made from images that were judged by a head that never saw them, and holds with a stated certainty for
images like these: it is a binomial bound, and assumes nothing about the probabilities. Which threshold to take is
chosen on the same images, and that must not break it. So thresholds are tested one after the other, from sure images to
all of them, each by an exact binomial test, until one fails: fixed-sequence testing, as in Learn then Test
(Angelopoulos et al., arXiv 2110.01052). The first test does not cover the fewest images that can pass, where one
mislabelled image would end the sequence, but the number that is most likely to pass, going by the probabilities, which
are right on the whole. A threshold is the probability of the image of a given rank, which is not counted itself: those
above it are then independent draws. Selection with guaranteed risk (Geifman & El-Yaniv, NeurIPS 2017) does the same
with a binary search.

The bound does not cover images of another kind, or another mixture of classes. It also ignores two things. The served
head was fitted on all images, and the judging heads only on most of them: it is taken to be no worse than they are. And
the judged images also chose the kind of head and the epoch of fine-tuning. Choosing the head makes no difference that
can be measured (tests/benchmarks/trust.py, accuracy of the judged images and of unseen ones: .792 and .794 of animals
that are alike, .696 and .702 of skewed classes); choosing the epoch may.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.checkpoints.metadata import MOST_ERROR, Promise, sure_enough
from models.checkpoints.promises import CERTAINTY

Mask = npt.NDArray[np.bool_]
Confidence = npt.NDArray[np.float64]

#: How certain a promise is where one with `CERTAINTY` cannot be made.
LOWER_CERTAINTY = 0.8
#: The shares that are tried in place of one that cannot be promised.
_NEAR = (0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, MOST_ERROR)
#: Quantile of confidence that stands for the surest images.
_SUREST = 0.99


def images_needed(max_error: float, certainty: float = CERTAINTY) -> int:
    """Return how many images without a mistake it takes to promise that at most ``max_error`` are wrong."""
    return math.ceil(math.log(1 - certainty) / math.log1p(-max_error))


def find_promise(confidence: Confidence, right: Mask, max_error: float, certainty: float = CERTAINTY) -> Promise | None:
    """Find the lowest threshold at which at most ``max_error`` of the images filed are wrong, with this certainty.

    ``confidence`` (n,): the probability of the predicted class of each judged image, below 0 where the image is not
    filed whatever the threshold; ``right`` (n,): whether it is the right class. Of near duplicates only one may be
    given.
    """
    first = _first_size(confidence, max_error, certainty)
    if first > len(right):
        return None
    sizes = np.arange(first, len(right) + 1)
    order = _surest_first(confidence)
    # A sentinel below all images, so that there is a threshold below the last of them, too.
    ranked = np.append(confidence.astype(np.float32)[order], np.float32(-1))
    thresholds = np.maximum(np.nextafter(ranked[sizes], np.float32(2)), np.float32(0))
    filed = np.searchsorted(-ranked, -thresholds, side="right")
    mistakes = np.concatenate([[0], np.cumsum(~right[order])])[filed]
    # How probable so few mistakes are where a larger share is wrong. Sizes that ties at the top leave with fewer than
    # `first` images are not tested; which these are depends on the confidence alone.
    failed = bdtr(mistakes, filed, max_error) > 1 - certainty
    start = int(np.searchsorted(filed, first))
    end = start + int(np.append(failed[start:], True).argmax())
    if end == start:
        return None
    return Promise(
        max_error=max_error,
        certainty=certainty,
        threshold=float(thresholds[end - 1]),
        coverage=float(filed[end - 1] / len(right)),
    )


def most_promising_size(confidence: Confidence, max_error: float) -> int:
    """Return how many of the surest images to test first: where they are most likely to pass, by the confidence.

    There the expected mistakes are the most standard deviations below the allowed ones. The actual mistakes are not
    looked at. Fewer images were filed when the permitted doubt was divided among four sizes to start from (the earlier
    rule in tests/benchmarks/trust.py). From as few images as can pass, one wrong label among the surest would
    end the sequence at once.
    """
    sure = np.sort(confidence[confidence >= 0])[::-1]
    count = np.arange(1, len(sure) + 1)
    margin = (max_error * count - np.cumsum(1 - sure)) / np.sqrt(count)
    return int(margin.argmax()) + 1 if len(sure) else 0


def _first_size(confidence: Confidence, max_error: float, certainty: float) -> int:
    """Return how many images the first test covers: the fewest that permit as many mistakes as the most promising size.

    Each test after it covers one image more. The result may be more than there are: then no test is possible.
    """
    count = most_promising_size(confidence, max_error)
    permitted = np.flatnonzero(bdtr(np.arange(count), count, max_error) <= 1 - certainty)
    if not len(permitted):
        return images_needed(max_error, certainty)
    most = int(permitted[-1])
    sizes = range(most + 1, count + 1)
    return sizes[bisect_left(sizes, True, key=lambda size: bool(bdtr(most, size, max_error) <= 1 - certainty))]


def _surest_first(confidence: Confidence) -> npt.NDArray[np.intp]:
    """Return the positions of the images, the surest first, in single precision as the classifier gives it."""
    return np.argsort(-confidence.astype(np.float32), kind="stable")


def find_estimate(confidence: Confidence, right: Mask, max_error: float) -> Promise | None:
    """Find the lowest threshold at which the share ``max_error`` of the images filed is estimated to be wrong.

    The estimate counts one mistake and one image more than there were, so that few images without a mistake do not
    count as proof of none: 1 % takes 99 of them. (Laplace's rule also adds an image that is right.)
    """
    order = _surest_first(confidence)
    ranked = confidence.astype(np.float32)[order]
    filed = np.arange(1, len(order) + 1)
    fits = (np.cumsum(~right[order]) + 1) / (filed + 1) <= max_error
    last_of_equals = np.append(ranked[:-1] > ranked[1:], True)
    found = np.flatnonzero(fits & last_of_equals & (ranked >= 0)) if len(order) else np.empty(0, np.intp)
    if not len(found):
        return None
    return Promise(
        max_error=max_error,
        certainty=None,
        threshold=float(ranked[found[-1]]),
        coverage=float(filed[found[-1]] / len(right)),
    )


def nearest_promise(confidence: Confidence, right: Mask, requested: float) -> Promise | None:
    """Find the promise with the smallest share of mistakes above ``requested``; None if none up to `MOST_ERROR` holds.

    Smaller shares are tested only while larger ones can be promised. So the certainty is that of one test: if each were
    tested and the first to pass taken, several chances to be wrong would add up.
    """
    nearest = None
    for share in sorted((share for share in _NEAR if share > requested), reverse=True):
        found = find_promise(confidence, right, share)
        if found is None:
            break
        nearest = found
    return nearest


def promise_instead(confidence: Confidence, right: Mask, requested: float) -> Promise | None:
    """Find what is promised instead of ``requested``: the same less certainly, or by estimate, or more mistakes.

    The candidates, in order of preference: the requested share with less certainty; the same as an estimate; a larger
    share. The first two are taken only if their threshold is at least that of the third. If the third is all that can
    be promised, its threshold is raised to (1 - ``requested``) times the confidence of the surest images. (Where labels
    are wrong, even the surest are not very sure.) The promise is then that of the lower threshold: that the surer ones
    of its images are no worse than all of them is not tested, but assumed.

    ``python -m tests.benchmarks.trust`` counts what is wrong above raised thresholds and above the lower ones.
    """
    last = nearest_promise(confidence, right, requested)
    less = find_promise(confidence, right, requested, LOWER_CERTAINTY) or find_estimate(confidence, right, requested)
    if last is None or (less is not None and less.threshold >= last.threshold):
        return less
    if less is not None:
        return last
    nearly = (1 - requested) * float(np.quantile(confidence[confidence >= 0], _SUREST))
    threshold = max(last.threshold, nearly)
    filed = float((confidence.astype(np.float32) >= threshold).mean())
    return last.model_copy(update={"threshold": threshold, "coverage": filed})


def surest_only(confidence: Confidence, right: Mask, requested: float) -> float:
    """Return the threshold to use where nothing can be promised.

    It is at least ``sure_enough(requested)``, and higher than the confidence of every mistake. It may be 1, where a
    mistake is as sure as can be.
    """
    wrong = confidence.astype(np.float32)[~right]
    above = float(np.nextafter(wrong.max(), np.float32(2))) if len(wrong) else 0.0
    return min(max(sure_enough(requested), above), 1.0)
