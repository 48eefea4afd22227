"""Count the images that a walk has not reached, since it stops when enough of them are ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice

#: Names read at a time, which takes the work loop some 20 ms.
_SLICE = 10_000


class Backlog:
    """Counts once for each walk that stops, by names alone and a slice at a time; then the walk counts it down.

    ``left`` is an estimate: files come and go while it is counted. No more is kept than the place in the folder.
    """

    def __init__(self) -> None:
        self.left = 0
        self._turn: int | None = None  # of the walk that was counted
        self._names: Iterator[os.DirEntry[str] | None] | None = None

    @property
    def counting(self) -> bool:
        """Whether counting goes on; until it ends, ``left`` is a lower bound."""
        return self._names is not None

    def count(
        self,
        turn: int,
        names: Callable[[], Iterator[os.DirEntry[str] | None]],
        is_known: Callable[[os.DirEntry[str]], bool],
    ) -> None:
        """Go on counting the unknown files while the walk of this ``turn`` is paused."""
        if turn != self._turn:
            self._turn, self.left, self._names = turn, 0, names()
        if self._names is None:
            return
        read = 0
        for entry in islice(self._names, _SLICE):
            read += 1
            self.left += entry is not None and not is_known(entry)
        if read < _SLICE:
            self._names = None

    def met(self, count: int) -> None:
        """Note that the walk has reached so many files."""
        self.left = max(self.left - count, 0)

    def clear(self) -> None:
        """Reset: the walk has ended, or was given up."""
        self.left, self._names, self._turn = 0, None, None
