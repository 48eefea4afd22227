"""What would make a promise possible that cannot be made: more images, or a few corrected labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from models.checkpoints.promises import CERTAINTY
from models.text.language import tr
from trainer.measuring.promises import Confidence, Mask, find_promise, images_needed, most_promising_size

#: At most this many wrong labels are named: more would be no accident.
_LABELS = 5
#: The numbers of images to try: each is the one before times `_STEP`, up to `_MOST` times as many as there are.
_STEP, _MOST = 1.05, 50


@dataclass(frozen=True)
class Remedy:
    """What would make a promise possible: about this many more ``images`` like these; None: no number is enough.

    ``labels`` names the images whose labels, corrected, would do as well; empty where correcting labels would not.
    """

    images: int | None
    labels: tuple[str, ...]

    def sentence(self, requested: float, *, labels_are_listed: bool) -> str:
        """Return it as a clause; ``labels_are_listed``: whether advice.txt lists the labels that may be wrong."""
        values = {"asked": 100 * requested, "certainty": 100 * CERTAINTY}
        names = "; ".join(self.labels)
        if self.images is None and not self.labels:
            if labels_are_listed:
                return tr(
                    "so many of the surest are wrong that more images like these would not help: advice.txt "
                    "lists the labels to look at"
                )
            return tr("so many of the surest are wrong that more images like these would not help")
        if self.images is None:
            return tr(
                "promising {asked:.3g} % with {certainty:.3g} % certainty takes that these labels are "
                "corrected, if they are wrong: {names}",
                names=names,
                **values,
            )
        if not self.labels:
            return tr(
                "promising {asked:.3g} % with {certainty:.3g} % certainty takes about {images} more images like these",
                images=self.images,
                **values,
            )
        return tr(
            "promising {asked:.3g} % with {certainty:.3g} % certainty takes about {images} more images like "
            "these, or that these labels are corrected, if they are wrong: {names}",
            images=self.images,
            names=names,
            **values,
        )


def find_remedy(confidence: Confidence, right: Mask, requested: float, names: Sequence[str]) -> Remedy:
    """Find what it takes to promise ``requested``; the images (n,) are as in `find_promise`, and have these names."""
    labels = [names[position] for position in _suspects(confidence, right, requested)]
    return Remedy(_more_images(confidence, right, requested), tuple(labels))


def _suspects(confidence: Confidence, right: Mask, requested: float) -> list[int]:
    """Return the fewest of the surest mistakes without which the promise can be made; none if that takes too many."""
    wrong = np.flatnonzero(~right & (confidence >= 0))
    surest: list[int] = wrong[np.argsort(-confidence[wrong], kind="stable")][:_LABELS].tolist()
    mended = right.copy()
    for count, position in enumerate(surest, start=1):
        mended[position] = True
        if find_promise(confidence, mended, requested) is not None:
            return surest[:count]
    return []


def _more_images(confidence: Confidence, right: Mask, requested: float) -> int | None:
    """Return about how many more images it takes to pass the first test, if the share of wrong ones stays the same."""
    count, first = len(right), most_promising_size(confidence, requested)
    mistakes = np.concatenate([[0], np.cumsum(~right[np.argsort(-confidence, kind="stable")])])
    factor = _STEP
    while count and factor <= _MOST:
        images = math.ceil(count * factor)
        tested = max(round(first * factor), images_needed(requested))
        wrong = round(mistakes[min(round(tested / factor), count)] * factor)
        if tested <= images and bdtr(wrong, tested, requested) <= 1 - CERTAINTY:
            return _rounded_up(images - count)
        factor *= _STEP
    return None


def _rounded_up(number: int) -> int:
    """Round up to two digits."""
    unit: int = 10 ** max(len(str(number)) - 2, 0)
    return math.ceil(number / unit) * unit
