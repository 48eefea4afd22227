"""Group the pile by likeness: a process of low priority does it, again whenever the pile has changed much."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from daemon.review.api import LikelyClass
from daemon.review.comparing import Answer, Comparing
from daemon.review.pile import Pile
from models.text.printable import shown

#: Images of the pile that are grouped: the newest.
MOST_GROUPED = 20_000
#: The pile is grouped again once this share of it is new, but not sooner than after so many seconds.
NEW_SHARE, PAUSE_SECONDS = 0.05, 30.0
#: The group of those that came since.
_NEW = 0


@dataclass(frozen=True)
class ImageGroup:
    """Images that look alike, by the ids of their filings, the most typical first."""

    id: int
    ids: Sequence[int]
    likely: Sequence[LikelyClass] = ()


@dataclass(frozen=True)
class Groups:
    """The groups of a pile, the largest first. ``edition`` counts up with each grouping."""

    edition: int = 0
    groups: Sequence[ImageGroup] = ()
    is_grouped: bool = False
    progress: float = 0.0


class Grouping:
    """Knows the groups of the pile. Safe in any thread."""

    def __init__(self, comparing: Comparing) -> None:
        self._comparing = comparing
        self._lock = threading.Lock()
        self._groups = Groups()
        self._grouped: frozenset[int] = frozenset()
        self._is_busy = False
        self._next = 0.0

    def of(self, pile: Pile) -> Groups:
        """Return the groups; images that are in none yet are one of their own, the newest first."""
        with self._lock:
            groups = self._groups
            new = [number for number in pile.contents if number not in self._grouped]
            is_due = len(new) > NEW_SHARE * len(pile.contents) and time.monotonic() >= self._next
            if is_due and not self._is_busy and not self._comparing.is_closed:
                self._is_busy = True
                threading.Thread(target=self._group, args=(pile,), name="grouping", daemon=True).start()
        if not new:
            return groups
        return replace(groups, groups=[*groups.groups, ImageGroup(_NEW, new)])

    def _group(self, pile: Pile) -> None:
        """Have the pile grouped, and keep the answer."""
        ids = pile.ids[:MOST_GROUPED]
        try:
            self._comparing.compare(ids, "groups", partial(self._take, asked=set(ids)))
        finally:
            with self._lock:
                self._is_busy = False
                self._next = time.monotonic() + PAUSE_SECONDS

    def _take(self, answer: Answer, asked: set[int]) -> None:
        if "progress" in answer:
            with self._lock:
                self._groups = replace(self._groups, progress=float(answer["progress"]))
        elif "groups" in answer:
            made = [
                ImageGroup(
                    number,
                    group["ids"],
                    [LikelyClass(label=shown(label), share=share) for label, share in group["likely"]],
                )
                for number, group in enumerate(answer["groups"], 1)
            ]
            grouped = frozenset(number for group in made for number in group.ids)
            with self._lock:
                self._groups = Groups(self._groups.edition + 1, made, is_grouped=bool(made), progress=1.0)
                self._grouped = grouped if grouped else frozenset(asked) & self._grouped
