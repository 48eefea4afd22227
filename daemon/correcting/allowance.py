"""Let a thread use a small share of a core on average, and some seconds of it at once after a rest."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Share of a core, on average: with what events and the system add it stays under 1 %.
SHARE = 0.008
#: Seconds of a core that may be used at once: a million files are looked at for the first time in less.
_BURST = 20.0
#: Share of a core within a burst, so that arriving images do not wait.
_PACE = 0.3


class Allowance:
    """Counts the processor time of the thread that calls it, and says how long to pause."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock, self._spent = clock, spent
        self._seen, self._used = clock(), spent()
        self._left = _BURST

    def pause(self) -> float:
        """Return the seconds to wait before any more work that can wait."""
        now, used = self._clock(), self._spent()
        work, passed = used - self._used, now - self._seen
        self._seen, self._used = now, used
        self._left = min(_BURST, self._left + passed * SHARE - work)
        return -self._left / SHARE if self._left < 0 else max(0.0, work / _PACE - passed)
