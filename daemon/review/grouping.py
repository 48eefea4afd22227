"""Group the pile by likeness: a process of low priority does it, again whenever the pile has changed much."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from typing import Literal

from daemon.review.api import LikelyClass
from daemon.review.comparing import Answer, Comparing
from daemon.review.pile import Pile
from models.text.printable import shown

#: Images of the pile that are grouped: the newest.
MOST_GROUPED = 20_000
#: The pile is grouped again once this share of it is new, but not sooner than after so many seconds; after each try
#: that failed twice as many, at most so many.
NEW_SHARE, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 30.0, 900.0
#: Groupings that are remembered: a page goes on with the one that it has begun with.
MOST_KEPT = 8

Kind = Literal["alike", "unlike", "new"]


@dataclass(frozen=True)
class ImageGroup:
    """Images that look alike, by the ids of their filings, the most typical first.

    Or those that are like no others (``unlike``), or in no group yet (``new``), the newest first. No two groups of a
    server have the same ``id``.
    """

    id: int
    ids: Sequence[int]
    likely: Sequence[LikelyClass] = ()
    kind: Kind = "alike"

    def after(self, number: int | None) -> Sequence[int]:
        """Return the ids that come after one; all, where that is not among them."""
        if number is not None and self.kind == "new":
            return [other for other in self.ids if other < number]
        return self.ids[self.ids.index(number) + 1 :] if number in self.ids else self.ids


@dataclass(frozen=True)
class Groups:
    """The groups of a pile, the largest first. ``edition`` counts up with each grouping.

    ``left``: images that have yet to be looked at. ``trouble``: why they cannot be.
    """

    edition: int = 0
    groups: Sequence[ImageGroup] = ()
    is_grouped: bool = False
    progress: float = 0.0
    left: int | None = None
    trouble: str | None = None
    grouped: frozenset[int] = frozenset()
    new_id: int = 0

    @cached_property
    def ids(self) -> frozenset[int]:
        """The ids of the groups."""
        return frozenset({self.new_id, *(group.id for group in self.groups)})

    def with_new(self, pile: Pile) -> Groups:
        """Add a group of those images that are in none."""
        new = [number for number in pile.contents if number not in self.grouped]
        left = len(pile.contents) if self.left is None else self.left
        groups = [*self.groups, *([ImageGroup(self.new_id, new, kind="new")] if new else [])]
        return replace(self, groups=groups, left=left)


class Grouping:
    """Knows the groups of the pile. Safe in any thread."""

    def __init__(
        self, comparing: Comparing, clock: Callable[[], float] = time.monotonic, *, delay: float = 0.0
    ) -> None:
        """``delay``: seconds from the first question until images are compared: the answer is to be seen first."""
        self._comparing = comparing
        self._delay = delay
        self._clock = clock
        self._lock = threading.Lock()
        self._groups = Groups()
        self._earlier: deque[Groups] = deque(maxlen=MOST_KEPT - 1)
        self._ids = count(1)
        self._asked: frozenset[int] = frozenset()
        self._is_busy = False
        self._pause = PAUSE_SECONDS
        self._next = 0.0

    def of(self, pile: Pile, group: int | None = None) -> Groups:
        """Return the groups, or those of an earlier grouping that one ``group`` belongs to."""
        with self._lock:
            groups = self._groups
            newest = pile.ids[:MOST_GROUPED]
            new = sum(number not in self._asked for number in newest)
            is_due = new > NEW_SHARE * len(newest) and self._clock() >= self._next
            if is_due and not self._is_busy and not self._comparing.is_closed:
                self._is_busy = True
                thread = threading.Timer(self._delay, self._group, [newest])
                thread.name, thread.daemon = "grouping", True
                thread.start()
            if group is not None:
                kept = (groups, *reversed(self._earlier))
                groups = next((one for one in kept if group in one.ids), groups)
        return groups.with_new(pile)

    @property
    def is_busy(self) -> bool:
        """Whether images are being compared."""
        return self._is_busy

    def _group(self, ids: Sequence[int]) -> None:
        """Have images grouped, and keep the answers."""
        asked = self._asked
        try:
            self._comparing.compare(ids, "groups", partial(self._take, asked=frozenset(ids)))
        finally:
            with self._lock:
                is_done = self._asked is not asked
                self._is_busy = False
                self._pause = PAUSE_SECONDS if is_done else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
                self._next = self._clock() + self._pause

    def _take(self, answer: Answer, asked: frozenset[int]) -> None:
        left = answer.get("left")
        with self._lock:
            if "error" in answer:
                self._groups = replace(self._groups, trouble=answer["error"])
            elif "groups" in answer:
                self._keep(answer["groups"], left)
                self._asked = self._asked if left else asked
            elif "progress" in answer:
                self._groups = replace(self._groups, progress=float(answer["progress"]), left=left, trouble=None)

    def _keep(self, given: Sequence[Answer], left: int | None) -> None:
        made = [
            ImageGroup(
                next(self._ids),
                group["ids"],
                [LikelyClass(label=shown(label), share=share) for label, share in group["likely"]],
                "alike" if group["alike"] else "unlike",
            )
            for group in given
        ]
        self._earlier.append(self._groups)
        self._groups = Groups(
            self._groups.edition + 1,
            made,
            is_grouped=bool(made),
            progress=self._groups.progress if left else 1.0,
            left=left or 0,
            grouped=frozenset(number for group in made for number in group.ids),
            new_id=next(self._ids),
        )
