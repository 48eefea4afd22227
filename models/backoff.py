"""Delays before retries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: ``first`` seconds after the first failure, then twice as many each time, up to ``last``."""

    first: float
    last: float

    def delay(self, earlier: int) -> float:
        """Return the seconds to wait after a failure, if ``earlier`` others came before it."""
        return float(min(self.first * 2.0 ** min(earlier, 64), self.last))
