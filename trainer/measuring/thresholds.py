"""Find thresholds that keep a promise: of the images filed, no more than a given share is wrong.

A promise is made from judged images and holds, with a stated certainty, for images like these: it is a binomial bound
and assumes nothing about the probabilities. The threshold is chosen on the same images, which must not break the
promise. So thresholds are tested one after the other, from the surest images to all of them, each by an exact binomial
test, and testing goes on only while tests are passed: fixed-sequence testing, as in Learn then Test (Angelopoulos et
al., arXiv 2110.01052). Since a single mislabelled image among the surest would end that at once, the permitted doubt is
divided among a few starting places, and the doubt of a passed test goes on to the next (the fallback procedure of
Wiens, Pharmaceutical Statistics 2003). A threshold is the probability of the image of a given rank, which is not
counted itself: those above it are then independent draws.
Selection with guaranteed risk (Geifman & El-Yaniv, NeurIPS 2017) does the same with a binary search.

The bound does not cover images of another kind or another mixture of classes. It also assumes that the served head,
fitted on all images, is no worse than the heads that judged, fitted on most. And it ignores that the judged images
chose the kind of head and the epoch of fine-tuning: the former flatters the result by nothing measurable (scenes,
accuracy of the judged images and of unseen ones: .856 and .866 with 16 images a class, .914 and .914 with 400), the
latter may.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.metadata import DEFAULT_THRESHOLD, Promise, strictest
from models.text.language import tr
from trainer.data.neighbours import Group
from trainer.measuring.measure import FilingCounts, LabelledPredictions

Mask = npt.NDArray[np.bool_]

#: The shares of mistakes that every checkpoint promises where its images allow, besides the requested one.
STANDARD_MAX_ERRORS = (0.01, 0.02, 0.05, 0.1)
#: The probability that a promise holds.
CERTAINTY = 0.95
#: The number of images tested grows by this factor. Measured on five draws of 2,400 images, 1 % wrong allowed:
#: 54 % of images are filed with 1.02, 53 % with 1.1, 50 % with 1.25.
_STEP = 1.02
#: The most starting places. Measured likewise: 55 % with 1, 54 % with 4, 51 % with 10; one mislabelled image among the
#: surest would spoil a single one.
_MAX_STARTS = 4


@dataclass(frozen=True)
class Thresholds:
    """The promises that so many ``judged`` images allow; ``requested`` is the user's share of mistakes, if any."""

    judged: int
    requested: float | None
    promises: list[Promise]

    @property
    def requested_promise(self) -> Promise | None:
        """The promise of the requested share, where it can be made."""
        return next((promise for promise in self.promises if promise.max_error == self.requested), None)

    @property
    def threshold(self) -> float:
        """The threshold that the daemon uses, unless its user sets one."""
        return DEFAULT_THRESHOLD if self.requested_promise is None else self.requested_promise.threshold

    def sentences(self, predictions: LabelledPredictions) -> list[str]:
        """Say which threshold is in force, what it does with the judged images, and what other thresholds promise."""
        in_force = predictions.filing(self.threshold)
        refusals = (
            [self._refusal(self.requested, in_force)]
            if self.requested is not None and self.requested_promise is None
            else []
        )
        others = [
            tr(
                "with --threshold {threshold:g}, {share:.1%} of the judged images are filed; "
                "at most {max_error:.3g} % of what is filed will be wrong ({certainty:.3g} % certain)",
                threshold=promise.typed,
                share=predictions.filing(promise.typed).filed / len(predictions.labels),
                max_error=100 * promise.max_error,
                certainty=100 * promise.certainty,
            )
            for promise in strictest(self.promises)
            if self.requested_promise is None or promise.typed != self.requested_promise.typed
        ]
        return [*refusals, self._in_force(in_force), *others]

    def _in_force(self, filing: FilingCounts) -> str:
        if self.threshold == 0:
            return tr(
                "only pictures unlike anything it was taught go to others/ ({why}): {told}",
                why=self._why(),
                told=_filing_sentence(filing),
            )
        return tr(
            "pictures it is less than {sure:.3g} % sure of go to others/ ({why}): {told}",
            sure=100 * self.threshold,
            why=self._why(),
            told=_filing_sentence(filing),
        )

    def _why(self) -> str:
        if self.requested_promise is not None:
            return tr(
                "at most {max_error:.3g} % of those filed are wrong, {certainty:.3g} % certain",
                max_error=100 * self.requested_promise.max_error,
                certainty=100 * self.requested_promise.certainty,
            )
        if self.requested is not None:
            return tr("the usual threshold")
        return tr("the usual threshold, since none was asked for by --max-error")

    def _refusal(self, requested: float, filing: FilingCounts) -> str:
        needed = images_needed(requested)
        if self.judged < needed:
            return tr(
                "at most {max_error:.3g} % wrong cannot be promised: "
                "that takes {needed} images without a mistake, and only {judged} could be judged",
                max_error=100 * requested,
                needed=needed,
                judged=self.judged,
            )
        if filing.filed and filing.wrong <= requested * filing.filed:
            return tr(
                "at most {max_error:.3g} % wrong cannot be promised: "
                "{wrong} of {filed} images are filed wrongly, and so few images are not enough to be sure",
                max_error=100 * requested,
                wrong=filing.wrong,
                filed=filing.filed,
            )
        return tr(
            "at most {max_error:.3g} % wrong cannot be promised: "
            "there are too many mistakes among the surest of the {judged} judged images",
            max_error=100 * requested,
            judged=self.judged,
        )


def _filing_sentence(filing: FilingCounts) -> str:
    """Say how many of the judged images are filed, if there are any."""
    if not filing.images:
        return tr("no image could be judged to tell how many that are")
    if not filing.filed:
        return tr("of {images} judged images none is filed", images=filing.images)
    return tr(
        "of {images} judged images {filed} ({share:.1%}) are filed, {wrong} of them wrongly ({wrong_share:.2%})",
        images=filing.images,
        filed=filing.filed,
        share=filing.filed / filing.images,
        wrong=filing.wrong,
        wrong_share=filing.wrong / filing.filed,
    )


def thresholds_for(predictions: LabelledPredictions, pictures: Group, requested: float | None) -> Thresholds:
    """Find the thresholds for judged images (n,).

    ``pictures`` (n,) gives images of one picture the same number: for a promise, near duplicates count as one image.
    For the share that is filed all images count, as everywhere else.
    """
    first = np.unique(pictures, return_index=True)[1]
    thresholds = choose_thresholds(
        np.where(predictions.is_unknown, -1.0, predictions.confidence)[first], predictions.right[first], requested
    )
    promises = [
        promise.model_copy(update={"coverage": predictions.filing(promise.threshold).filed / len(predictions.labels)})
        for promise in thresholds.promises
    ]
    return replace(thresholds, promises=promises)


def choose_thresholds(confidence: npt.NDArray[np.float64], right: Mask, requested: float | None) -> Thresholds:
    """Find the thresholds for the standard promises, and for ``requested``.

    ``confidence`` (n,) is the probability of the predicted class of each judged image, below 0 where the image is not
    filed whatever the threshold; ``right`` (n,) whether that is the true class. Each picture may occur only once.
    """
    max_errors = sorted({*STANDARD_MAX_ERRORS, *([] if requested is None else [requested])})
    promises = [find_promise(confidence, right, max_error) for max_error in max_errors]
    return Thresholds(len(right), requested, [promise for promise in promises if promise is not None])


def images_needed(max_error: float, certainty: float = CERTAINTY) -> int:
    """Return how many images without a mistake it takes to promise that at most ``max_error`` are wrong."""
    return math.ceil(math.log(1 - certainty) / math.log1p(-max_error))


def find_promise(
    confidence: npt.NDArray[np.float64], right: Mask, max_error: float, certainty: float = CERTAINTY
) -> Promise | None:
    """Find the lowest threshold at which, with this certainty, at most ``max_error`` of the filed images are wrong."""
    sequence = _sequence(len(right), max_error, certainty)
    if not sequence:
        return None
    single = confidence.astype(np.float32)  # as the classifier gives it
    order = np.argsort(-single, kind="stable")
    # An image that is never filed comes last, so that there is a threshold below all others.
    ranked = np.append(single[order], np.float32(-1))
    sizes, new_doubts = map(np.array, zip(*sequence, strict=True))
    thresholds = np.maximum(np.nextafter(ranked[sizes], np.float32(2)), np.float32(0))
    filed = np.searchsorted(-ranked, -thresholds, side="right")
    mistakes = np.concatenate([[0], np.cumsum(~right[order])])[filed]
    p_values = bdtr(mistakes, filed, max_error)  # how probable so few mistakes are if a greater share is wrong
    last, doubt = None, 0.0
    for position, new_doubt in enumerate(new_doubts):
        doubt += new_doubt
        if filed[position] and p_values[position] <= doubt:
            last = position
        else:
            doubt = 0.0
    if last is None:
        return None
    return Promise(
        max_error=max_error,
        certainty=certainty,
        threshold=float(thresholds[last]),
        coverage=float(filed[last] / len(right)),
    )


def _sequence(count: int, max_error: float, certainty: float) -> list[tuple[int, float]]:
    """Return, for each test in turn, how many of the surest images it covers and the doubt that it adds.

    The sequence depends on the number of images only, never on the images.
    """
    starts = min(_MAX_STARTS, count // images_needed(max_error, certainty))
    if starts == 0:
        return []
    doubt = (1 - certainty) / starts
    sizes = [min(images_needed(max_error, 1 - doubt), count)]
    while sizes[-1] < count:
        sizes.append(min(count, max(sizes[-1] + 1, int(sizes[-1] * _STEP))))
    places = {len(sizes) * start // starts for start in range(starts)}
    share = (1 - certainty) / len(places)
    return [(size, share if position in places else 0.0) for position, size in enumerate(sizes)]
