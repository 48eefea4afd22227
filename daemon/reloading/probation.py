"""Probation: the first images of a new model, compared with the last ones of the model before.

What can be seen without anybody's help is that a model fails, or sends many more images to the others (as unsure or
unknown) than the one before. Both shares are estimates, from some hundred images each, so that they are compared by
Fisher's exact test, one-sided; a binomial test would take the old share for exact. The test is made three times, after
a quarter, a half and all of the images, each time at a third of the error allowed in all (Bonferroni): a model that is
no worse is rejected once in a thousand probations at most, as far as images come in no particular order. The difference
must also be large enough to matter. Images of classes that the new model no longer has are expected to go to the
others, and are counted as if they had gone there before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from daemon.filing.class_paths import is_in_folder_of
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State
from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.text.language import tr

#: How often a model that is no worse may be rejected, in all tests together.
ALPHA = 0.001
#: The least difference of the two shares that matters.
JUMP = 0.1
#: When to test, as shares of the probation.
TESTS = (0.25, 0.5, 1.0)
#: The most images of the model before that are remembered.
MEMORY = 500


class Observation(NamedTuple):
    """Class that a model gave an image, and whether the image went to the others anyway."""

    label: str
    to_others: bool


class Probation:
    """Watches the first ``images`` images of a new model."""

    def __init__(self, images: int, before: Sequence[Observation], classes: Sequence[str]) -> None:
        """``before``: what the model before made of its last images. ``classes``: those of the new one."""
        kept = {*classes, *ClassTree(classes).inner_folders}
        self._images = images
        self._tested_at = {max(1, round(images * share)) for share in TESTS}
        self._before = len(before)
        self._others_before = sum(seen.to_others or seen.label not in kept for seen in before)
        self.seen: list[Observation] = []
        self._others = 0

    @property
    def passed(self) -> bool:
        """Whether the probation is over. Check `fault` first."""
        return len(self.seen) >= self._images

    def fault(self, seen: Observation, confidence: float) -> str | None:
        """Judge the model by one more image: return what is wrong with it, None while nothing is."""
        self.seen.append(seen)
        self._others += seen.to_others
        if not math.isfinite(confidence):
            return tr("its probabilities are not numbers")
        count = len(self.seen)
        if count not in self._tested_at or not self._before:
            return None
        if self._others / count - self._others_before / self._before < JUMP:
            return None
        chance = by_chance(self._others, count, self._others_before, self._before)
        if chance >= ALPHA / len(TESTS):
            return None
        return tr(
            "it sent {others} of its first {count} images to the others, and of the {before} before "
            "only {others_before} went there",
            others=self._others,
            count=count,
            others_before=self._others_before,
            before=self._before,
        )


def by_chance(others: int, images: int, others_before: int, images_before: int) -> float:
    """Return the probability of as many others, or more, if both shares are equal: Fisher's exact test."""
    total = others + others_before
    all_ways = _log_ways(images + images_before, total)
    return math.fsum(
        math.exp(_log_ways(images, k) + _log_ways(images_before, total - k) - all_ways)
        for k in range(max(others, total - images_before), min(images, total) + 1)
    )


def _log_ways(count: int, chosen: int) -> float:
    """Return the logarithm of the binomial coefficient of ``count`` and ``chosen``."""
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def from_journal(journal: Path, digest: str, outputs: Sequence[Path]) -> list[Observation]:
    """Read from the journal the last images that a checkpoint has classified, oldest first.

    ``outputs``: where they were filed. Nothing where there is no journal, or none that can be read now: the model is
    then judged by less, and used all the same.
    """
    if not journal.exists():
        return []
    rows = read_history(journal, Wanted(model_digest=digest, states=[State.DONE]), MEMORY)
    try:
        return list(_seen(rows, outputs))[::-1]
    except UserError as error:
        logger.warning(
            tr(
                "cannot read how checkpoint {digest} classified earlier images: {error}",
                digest=digest[:12],
                error=error,
            )
        )
        return []


def _seen(rows: Iterator[Filing], outputs: Sequence[Path]) -> Iterator[Observation]:
    for row in rows:
        if row.label is not None and row.folder is not None:
            yield Observation(row.label, not is_in_folder_of(row.label, row.folder, outputs))
