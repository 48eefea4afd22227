"""Thresholds that keep a promise: of the images filed, no more than a given share is wrong.

A promise is made from images that were judged by a head that never saw them, and holds with a stated certainty for
images like these: it is a binomial bound, and assumes nothing about the probabilities. Which threshold to take is
chosen on the same images, and that must not break it. So thresholds are tested one after the other, from the surest
images to all of them, each by an exact binomial test, and the testing goes on only while it is passed: fixed-sequence
testing, as in Learn then Test (Angelopoulos et al., arXiv 2110.01052). Since a single mislabelled image among the
surest would end that at once, the permitted doubt is divided among a few places to start from, and what a passed test
did not use up goes on to the next (the fallback procedure of Wiens, Pharmaceutical Statistics 2003). A threshold is the
probability of the image of a given rank, which is not counted itself: those above it are then independent draws.
Selection with guaranteed risk (Geifman & El-Yaniv, NeurIPS 2017) does the same with a binary search.

What the bound does not cover: images of another kind or another mixture of classes, and that the head which is served
was fitted on all images, those that judged on most; it is taken to be no worse than they are. Nor that the judged
images chose the kind of head and the epoch of fine-tuning. The former flatters nothing that can be measured (scenes,
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
from trainer.measuring.measure import FilingCounts, Measured

Mask = npt.NDArray[np.bool_]

#: The promises that every checkpoint makes as far as its images allow, besides the one that was asked for.
STANDARD = (0.01, 0.02, 0.05, 0.1)
#: How certain a promise is.
CERTAINTY = 0.95
#: Numbers of images that are tested grow by this factor. Measured on five draws of 2,400 images, 1 % wrong allowed:
#: 54 % of images are filed with 1.02, 53 % with 1.1, 50 % with 1.25.
_STEP = 1.02
#: So many places to start from at most. Measured likewise: 55 % with 1, 54 % with 4, 51 % with 10; one mislabelled
#: image among the surest would undo a single one.
_STARTS = 4


@dataclass(frozen=True)
class Thresholds:
    """The promises that ``judged`` images allow; ``asked`` is the share of mistakes that was to be kept, if any."""

    judged: int
    asked: float | None
    promises: list[Promise]

    @property
    def kept(self) -> Promise | None:
        """The promise that was asked for, where it can be made."""
        return next((promise for promise in self.promises if promise.max_error == self.asked), None)

    @property
    def served(self) -> float:
        """The threshold that the daemon goes by, unless its user sets one."""
        return DEFAULT_THRESHOLD if self.kept is None else self.kept.threshold

    def sentences(self, measured: Measured) -> list[str]:
        """Which threshold is in force, what becomes of the judged images by it, and what others promise."""
        in_force = measured.filing(self.served)
        refusals = [self._refusal(self.asked, in_force)] if self.asked is not None and self.kept is None else []
        others = [
            tr(
                "with --threshold {threshold:g}, {share:.1%} of the judged images are filed; "
                "at most {max_error:.3g} % of what is filed will be wrong ({certainty:.3g} % certain)",
                threshold=each.typed,
                share=measured.filing(each.typed).filed / len(measured.labels),
                max_error=100 * each.max_error,
                certainty=100 * each.certainty,
            )
            for each in strictest(self.promises)
            if self.kept is None or each.typed != self.kept.typed
        ]
        return [*refusals, self._in_force(in_force), *others]

    def _in_force(self, filing: FilingCounts) -> str:
        if self.served == 0:
            return tr(
                "only pictures unlike anything it was taught go to others/ ({why}): {told}",
                why=self._why(),
                told=_told(filing),
            )
        return tr(
            "pictures it is less than {sure:.3g} % sure of go to others/ ({why}): {told}",
            sure=100 * self.served,
            why=self._why(),
            told=_told(filing),
        )

    def _why(self) -> str:
        if self.kept is not None:
            return tr(
                "at most {max_error:.3g} % of those filed are wrong, {certainty:.3g} % certain",
                max_error=100 * self.kept.max_error,
                certainty=100 * self.kept.certainty,
            )
        if self.asked is not None:
            return tr("the usual threshold")
        return tr("the usual threshold, since none was asked for by --max-error")

    def _refusal(self, asked: float, filing: FilingCounts) -> str:
        needed = images_needed(asked)
        if self.judged < needed:
            return tr(
                "at most {max_error:.3g} % wrong cannot be promised: "
                "that takes {needed} images without a mistake, and only {judged} could be judged",
                max_error=100 * asked,
                needed=needed,
                judged=self.judged,
            )
        if filing.filed and filing.wrong <= asked * filing.filed:
            return tr(
                "at most {max_error:.3g} % wrong cannot be promised: "
                "{wrong} of {filed} images are filed wrongly, and so few images are not enough to be sure",
                max_error=100 * asked,
                wrong=filing.wrong,
                filed=filing.filed,
            )
        return tr(
            "at most {max_error:.3g} % wrong cannot be promised: "
            "there are too many mistakes among the surest of the {judged} judged images",
            max_error=100 * asked,
            judged=self.judged,
        )


def _told(filing: FilingCounts) -> str:
    """What becomes of the judged images, if there are any."""
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


def judge(measured: Measured, pictures: Group, asked: float | None) -> Thresholds:
    """The thresholds for judged images (n,).

    ``pictures`` (n,) has one number for images that show one picture: near duplicates say no more than one of them. Of
    how many are filed they all tell, as everywhere else.
    """
    first = np.unique(pictures, return_index=True)[1]
    made = choose(np.where(measured.strange, -1.0, measured.confidence)[first], measured.right[first], asked)
    promises = [
        each.model_copy(update={"coverage": measured.filing(each.threshold).filed / len(measured.labels)})
        for each in made.promises
    ]
    return replace(made, promises=promises)


def choose(confidence: npt.NDArray[np.float64], right: Mask, asked: float | None) -> Thresholds:
    """The thresholds for the standard promises, and for ``asked``.

    ``confidence`` (n,): the probability of the predicted class of each judged image, below 0 where the image is not
    filed whatever the threshold; ``right`` (n,): whether it is the right class. Each picture may be there once only.
    """
    wanted = sorted({*STANDARD, *([] if asked is None else [asked])})
    made = [promise(confidence, right, max_error) for max_error in wanted]
    return Thresholds(len(right), asked, [each for each in made if each is not None])


def images_needed(max_error: float, certainty: float = CERTAINTY) -> int:
    """How many images without any mistake it takes to promise that at most ``max_error`` are wrong."""
    return math.ceil(math.log(1 - certainty) / math.log1p(-max_error))


def promise(
    confidence: npt.NDArray[np.float64], right: Mask, max_error: float, certainty: float = CERTAINTY
) -> Promise | None:
    """The lowest threshold at which at most ``max_error`` of the images filed are wrong, with that certainty."""
    sequence = _sequence(len(right), max_error, certainty)
    if not sequence:
        return None
    single = confidence.astype(np.float32)  # as the classifier gives it
    order = np.argsort(-single, kind="stable")
    # Below everything that may be filed lies an image that never is: with it all others are above some threshold.
    ranked = np.append(single[order], np.float32(-1))
    sizes, doubts = map(np.array, zip(*sequence, strict=True))
    thresholds = np.maximum(np.nextafter(ranked[sizes], np.float32(2)), np.float32(0))
    filed = np.searchsorted(-ranked, -thresholds, side="right")
    mistakes = np.concatenate([[0], np.cumsum(~right[order])])[filed]
    doubtful = bdtr(mistakes, filed, max_error)  # how probable so few mistakes are where a greater share is wrong
    last, level = None, 0.0
    for at, doubt in enumerate(doubts):
        level += doubt
        if filed[at] and doubtful[at] <= level:
            last = at
        else:
            level = 0.0
    if last is None:
        return None
    return Promise(
        max_error=max_error,
        certainty=certainty,
        threshold=float(thresholds[last]),
        coverage=float(filed[last] / len(right)),
    )


def _sequence(count: int, max_error: float, certainty: float) -> list[tuple[int, float]]:
    """How many of the surest images are tested, one test after the other, and the doubt that each brings along.

    It depends on the number of images only, never on what they are.
    """
    starts = min(_STARTS, count // images_needed(max_error, certainty))
    if starts == 0:
        return []
    doubt = (1 - certainty) / starts
    sizes = [min(images_needed(max_error, 1 - doubt), count)]
    while sizes[-1] < count:
        sizes.append(min(count, max(sizes[-1] + 1, int(sizes[-1] * _STEP))))
    places = {len(sizes) * start // starts for start in range(starts)}
    share = (1 - certainty) / len(places)
    return [(size, share if at in places else 0.0) for at, size in enumerate(sizes)]
