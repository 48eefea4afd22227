"""Probation: the first images of a new model, compared with the last ones of the model before.

What can be seen without anybody's help is that a model is unsure much more often than the one before, or fails. Both
shares of unsure images are estimates, from some hundred images each, so that they are compared by Fisher's exact test,
one-sided; a binomial test would take the old share for exact. It is looked at three times, at a quarter, at a half and
at the end, each time at a third of the error allowed in all (Bonferroni): a model that is no worse is sent away once in
a thousand probations at most, as far as images come in no particular order. A difference must be one that matters, too.
Images of classes that the new model no longer has are expected to be unsure, and count as unsure before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State
from models.errors import UserError
from models.text.language import tr

#: How often a model that is no worse may be sent away, in all looks together.
ALPHA = 0.001
#: The least difference of the two shares that matters.
JUMP = 0.1
#: When to look, as shares of the probation.
LOOKS = (0.25, 0.5, 1.0)
#: The most images of the model before that are remembered.
MEMORY = 500


class Observation(NamedTuple):
    """The outcome of one image under a model; ``unsure``: it went to the others."""

    label: str
    unsure: bool


class Probation:
    """Watches the first ``images`` images of a new model."""

    def __init__(self, images: int, before: Sequence[Observation], classes: Sequence[str]) -> None:
        """``before``: what the model before made of its last images. ``classes``: those of the new one."""
        kept = set(classes)
        self._images = images
        self._looks = {max(1, round(images * share)) for share in LOOKS}
        self._before = len(before)
        self._unsure_before = sum(seen.unsure or seen.label not in kept for seen in before)
        self.seen: list[Observation] = []
        self._unsure = 0

    @property
    def passed(self) -> bool:
        """Whether the probation is over. Check `fault` first."""
        return len(self.seen) >= self._images

    def fault(self, seen: Observation, confidence: float) -> str | None:
        """What is wrong with the model, now that it has seen one more image; None while nothing is."""
        self.seen.append(seen)
        self._unsure += seen.unsure
        if not math.isfinite(confidence):
            return tr("its probabilities are not numbers")
        count = len(self.seen)
        if count not in self._looks or not self._before:
            return None
        if self._unsure / count - self._unsure_before / self._before < JUMP:
            return None
        chance = by_chance(self._unsure, count, self._unsure_before, self._before)
        if chance >= ALPHA / len(LOOKS):
            return None
        return tr(
            "it was unsure of {unsure} of its first {count} images, where {unsure_before} of the {before} before were "
            "to be expected",
            unsure=self._unsure,
            count=count,
            unsure_before=self._unsure_before,
            before=self._before,
        )


def by_chance(unsure: int, images: int, unsure_before: int, images_before: int) -> float:
    """The probability of this many unsure images, or more, if both shares are the same: Fisher's exact test."""
    total = unsure + unsure_before
    all_ways = _log_ways(images + images_before, total)
    return math.fsum(
        math.exp(_log_ways(images, k) + _log_ways(images_before, total - k) - all_ways)
        for k in range(max(unsure, total - images_before), min(images, total) + 1)
    )


def _log_ways(count: int, chosen: int) -> float:
    """The logarithm of the number of ways to choose ``chosen`` of ``count``."""
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def from_journal(journal: Path, digest: str) -> list[Observation]:
    """What the journal says of the last images that a checkpoint has classified, oldest first.

    Nothing where there is no journal, or none that can be read now: a model is judged by less then, and serves.
    """
    if not journal.exists():
        return []
    rows = read_history(journal, Wanted(model_digest=digest, states=[State.DONE]), MEMORY)
    try:
        return list(_seen(rows))[::-1]
    except UserError as error:
        logger.warning(
            tr(
                "cannot read how checkpoint {digest} classified earlier images: {error}",
                digest=digest[:12],
                error=error,
            )
        )
        return []


def _seen(rows: Iterator[Filing]) -> Iterator[Observation]:
    for row in rows:
        if row.label is not None and row.destination is not None:
            yield Observation(row.label, row.destination.parent.name != row.label)
