"""Group the pile by likeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.review.api import LikelyClass
from daemon.review.pile import Pile


@dataclass(frozen=True)
class ImageGroup:
    """Images that look alike, by the ids of their filings, the most typical first."""

    id: int
    ids: Sequence[int]
    likely: Sequence[LikelyClass] = ()


@dataclass(frozen=True)
class Groups:
    """The groups of a pile, the largest first. ``edition`` counts up with each grouping."""

    edition: int
    groups: Sequence[ImageGroup]
    is_grouped: bool
    progress: float


class Grouping:
    """Knows the groups of the pile. Safe in any thread."""

    def of(self, pile: Pile) -> Groups:
        """Return the groups; images that are in none yet are one of their own, the newest first."""
        return Groups(0, [ImageGroup(0, pile.ids)] if pile.contents else [], is_grouped=False, progress=0.0)
