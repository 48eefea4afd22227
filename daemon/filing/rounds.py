"""Do work that is never over in rounds with pauses between them, a little at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator


class Rounds:
    """Goes through the steps that ``begin`` returns, again and again; `work` continues where it stopped the last time.

    Between two rounds it pauses for ``pause`` seconds, or for ``times`` the duration of the last one, if longer.
    """

    def __init__(
        self,
        begin: Callable[[], Iterator[None]],
        *,
        pause: float,
        times: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin = begin
        self._pause = pause
        self._times = times
        self._clock = clock
        self._steps: Iterator[None] | None = None
        self._next = -math.inf
        self._spent = 0.0

    def work(self, seconds: float) -> bool:
        """Work for at most ``seconds``, and not at all in the pause; return whether there is more in this round."""
        start = self._clock()
        if start < self._next:
            return False
        self._steps = self._steps or self._begin()
        for _ in self._steps:
            if self._clock() >= start + seconds:
                self._spent += self._clock() - start
                return True
        end = self._clock()
        self._next = end + max(self._pause, self._times * (self._spent + end - start))
        self._steps, self._spent = None, 0.0
        return False
